package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports come in blocks, each of which one process has until it ends: a port that was handed out, and on which nobody listens yet or
// between two runs of a server, is not taken by the tests of another package. A block's owner holds a lock on a file.
var ports struct {
	mu        sync.Mutex
	next, end int
	held      []*os.File // open as long as the process lives
}

// portsDir holds the files. A test may have a directory for temporary files of its own later.
var portsDir = filepath.Join(os.TempDir(), "ayder-test-ports")

var errNoPorts = errors.New("no free ports")

// FreePort finds a loopback port that nothing listens on and that neither this process nor another has been given.
func FreePort() (int, error) { return FreePorts(1) }

// FreePorts finds n such ports in a row and returns the first.
func FreePorts(n int) (first int, err error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for {
		if ports.next+n > ports.end {
			if err := nextBlock(); err != nil {
				return 0, err
			}
		}
		first, ports.next = ports.next, ports.next+n
		if allFree(first, n) {
			return first, nil
		}
	}
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// nextBlock takes a block that nobody has.
func nextBlock() error {
	const blocks = (portMax - portMin) / portBlock
	if err := os.MkdirAll(portsDir, 0o755); err != nil {
		return err
	}
	for _, i := range rand.Perm(blocks) {
		first := portMin + i*portBlock
		f, err := os.OpenFile(filepath.Join(portsDir, strconv.Itoa(first)), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			continue
		}
		ports.held = append(ports.held, f)
		ports.next, ports.end = first, first+portBlock
		return nil
	}
	return fmt.Errorf("%w: all %d blocks of %d are taken", errNoPorts, blocks, portBlock)
}
