# The same completion serves all our programs.
source (status dirname)/openvpn3.fish
