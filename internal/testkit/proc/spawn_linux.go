package proc

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Children get a death signal, so that a test run that panics or is killed leaves no server
// behind. The kernel sends that signal when the *thread* that started the child ends, and Go's
// threads come and go; so one thread that never ends starts them all.

var spawner struct {
	once     sync.Once
	requests chan spawnRequest
}

type spawnRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// spawn is cmd.Start for a child that must not survive this process.
func spawn(cmd *exec.Cmd) error {
	spawner.once.Do(func() {
		spawner.requests = make(chan spawnRequest)
		go spawnAll()
	})
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r := spawnRequest{cmd: cmd, done: make(chan error)}
	spawner.requests <- r
	return <-r.done
}

func spawnAll() {
	runtime.LockOSThread()
	for r := range spawner.requests {
		r.done <- r.cmd.Start()
	}
}
