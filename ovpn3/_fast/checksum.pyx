"""One's-complement sums (RFC 1071)."""

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* Written for the compiler to vectorise; which version runs is decided when the module is loaded. */
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
    #define OVPN3_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
    #else
    #define OVPN3_VECTORISED
    #endif

    OVPN3_VECTORISED
    static uint64_t ovpn3_add_octets(const uint8_t *data, size_t size, uint64_t sum)
    {
        uint64_t total = 0;
        size_t words = size / 4, i;
        uint16_t half = 0;
        for (i = 0; i < words; i++) {
            uint32_t word;
            memcpy(&word, data + i * 4, 4);
            total += word;
        }
        data += words * 4;
        size -= words * 4;
        sum += total;
        if (size & 2) {
            memcpy(&half, data, 2);
            sum += half;
            data += 2;
        }
        if (size & 1) {
            half = 0;
            memcpy(&half, data, 1);  /* padded with a zero octet behind it, in either byte order */
            sum += half;
        }
        return sum;
    }
    """
    uint64_t ovpn3_add_octets(const uint8_t *data, size_t size, uint64_t sum) nogil


def checksum(const uint8_t[::1] data not None, uint64_t initial=0):
    if initial > 0xFFFF_FFFF or data.shape[0] > 0xFFFF_FFFF:
        raise ValueError("sum or data too large")
    cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
    cdef uint16_t folded = fold(ovpn3_add_octets(start, data.shape[0], word(initial & 0xFFFF) + word(initial >> 16)))
    return <int> word(folded)  # swaps the octets where they have to be


cdef uint64_t add_octets(const uint8_t *data, int size, uint64_t sum) noexcept nogil:
    return ovpn3_add_octets(data, <size_t> size, sum)


cdef uint64_t add_pseudo_header(const uint8_t *packet, int size, int protocol, uint64_t sum) noexcept nogil:
    sum += word(<uint64_t> size) + word(<uint64_t> protocol)
    if packet[0] >> 4 == 4:
        return ovpn3_add_octets(packet + 12, 8, sum)
    return ovpn3_add_octets(packet + 8, 32, sum)


cdef bint sums_hold(const uint8_t *packet, int size, int l4, int protocol) noexcept nogil:
    if packet[0] >> 4 == 4 and fold(ovpn3_add_octets(packet, 20, 0)) != 0xFFFF:
        return False
    return fold(add_octets(packet + l4, size - l4, add_pseudo_header(packet, size - l4, protocol, 0))) == 0xFFFF
