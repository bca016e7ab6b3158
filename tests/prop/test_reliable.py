"""Two reliable ends with a network between them that does its worst."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovpn3.protocol.packet import MAX_ACKS, MAX_PIGGYBACK_ACKS, Opcode
from ovpn3.protocol.reliable import RECEIVE_WINDOW, SEND_WINDOW, Reliable

ENDS = st.sampled_from([0, 1])


class Network(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.now = 0.0
        self.ends = [Reliable(2.0, stream=False), Reliable(2.0, stream=False)]
        self.queued = [[], []]
        self.delivered = [[], []]  # at the other end of each sender
        self.under_way = []  # (receiver, acks, message id or None, payload)

    @rule(end=ENDS, size=st.integers(1, 9))
    def queue(self, end, size):
        for _ in range(size):
            payload = f"{end}/{len(self.queued[end])}".encode()
            self.queued[end].append(payload)
            self.ends[end].queue(Opcode.CONTROL, payload)

    @rule(end=ENDS)
    def send(self, end):
        reliable = self.ends[end]
        for message_id, _, payload in reliable.due(self.now):
            acks = reliable.take_acks(MAX_PIGGYBACK_ACKS)
            assert len(acks) <= MAX_PIGGYBACK_ACKS
            self.under_way.append((1 - end, acks, message_id, payload))
        while reliable.must_ack:
            self.under_way.append((1 - end, reliable.take_acks(MAX_ACKS), None, b""))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), again=st.booleans())
    def arrive(self, data, again):
        """Any packet, whatever its turn; perhaps it stays to arrive once more."""
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        self.take(self.under_way[at] if again else self.under_way.pop(at))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def lose(self, data):
        self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    @rule(end=ENDS, ids=st.lists(st.integers(0, 2**32 - 1), max_size=4), message_id=st.integers(20_000, 2**32 - 1))
    def nonsense(self, end, ids, message_id):
        """Ids nobody sent. (Acknowledging what was sent but not received is lying, and lying isn't noise.)"""
        self.ends[end].acknowledged((i for i in ids if i >= len(self.queued[end])), self.now)
        self.ends[end].receive(message_id, b"never")

    @rule(seconds=st.floats(0.0, 10.0))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def order_is_kept_and_nothing_repeated(self):
        for sent, got in zip(self.queued, self.delivered, strict=True):
            assert got == sent[: len(got)]

    @invariant()
    def memory_is_bounded(self):
        for reliable in self.ends:
            assert len(reliable._sent) <= SEND_WINDOW
            assert len(reliable._received) <= RECEIVE_WINDOW
            assert len(reliable._old_acks) <= MAX_ACKS

    def teardown(self):
        """A network that has come to its senses delivers everything."""
        for _ in range(1000):
            for end in (0, 1):
                self.send(end)
            packets, self.under_way = self.under_way, []
            for packet in packets:
                self.take(packet)
            if self.delivered == self.queued and all(r.settled for r in self.ends):
                return
            self.now += 61.0
        raise AssertionError("never settled")

    def take(self, packet):
        end, acks, message_id, payload = packet
        reliable = self.ends[end]
        reliable.acknowledged(acks, self.now)
        if message_id is not None:
            reliable.receive(message_id, payload)
        for _, delivered in reliable.deliver():
            self.delivered[1 - end].append(delivered)


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
