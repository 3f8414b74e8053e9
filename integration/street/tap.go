package street

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// device is the name of a host's network device, the same on each.
const device = "eth0"

// address is that of the host with that number, from 0 on.
func address(host int) string { return fmt.Sprintf("10.77.0.%d", host+1) }

// mac ends with the number of the host, so that the switch has nothing to learn.
func mac(host int) net.HardwareAddr { return net.HardwareAddr{0x02, 0x73, 0x77, 0, 0, byte(host + 1)} }

// numberOf is the host that a frame is for; false when it is for all.
func numberOf(frame []byte) (host int, one bool) {
	return int(frame[5]) - 1, frame[0]&1 == 0
}

// openTap makes the device in a host's network. What the host sends is read from the file, a frame at a time, and what
// is written to it the host receives. The device ends with the file.
func openTap(networkFile string) (*os.File, error) {
	fd := -1
	err := within(networkFile, func() (err error) {
		// Only the opener's namespace counts; and the poller takes the file only once the device is there.
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return fmt.Errorf("make the TAP device: %w", err)
		}
		return nil
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tap"), nil
}

// configure gives the device its addresses. inside is how to run a command on the host.
func configure(inside []string, host int) error {
	line := append(append([]string{}, inside...), "ip", "-batch", "-")
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("link set %[1]s address %[2]s\naddr add %[3]s/24 dev %[1]s\nlink set %[1]s up\n",
		device, mac(host), address(host)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("configure the network of host %d: %w: %s", host+1, err, out)
	}
	return nil
}
