package netpoll

import (
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerName is the address of the other end of the socket fd, "" if it has none.
func peerName(fd int) string {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return ""
	}
	return addressText(sa)
}

// boundName is the address of this end of the socket fd, "" if it has none.
func boundName(fd int) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	return addressText(sa)
}

func addressText(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port))
	case *unix.SockaddrInet6:
		host := net.IP(sa.Addr[:]).String()
		if sa.ZoneId != 0 {
			host += "%" + strconv.Itoa(int(sa.ZoneId))
		}
		return net.JoinHostPort(host, strconv.Itoa(sa.Port))
	case *unix.SockaddrUnix:
		return sa.Name
	}
	return ""
}
