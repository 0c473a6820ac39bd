package proc

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
)

// The program that these tests start is this test binary itself, which plays a small server when
// its arguments are those of one. So the package is tested without the product.

const (
	envStubborn = "PROC_TEST_STUBBORN" // the small server ignores SIGTERM
	envMute     = "PROC_TEST_MUTE"     // it never becomes ready
)

func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, "--listen"); i > 0 {
		os.Exit(smallServer(os.Args[i+1]))
	}
	if os.Args[len(os.Args)-1] == "port" {
		port, err := FreePort()
		if err != nil {
			panic(err)
		}
		fmt.Print(port)
		os.Exit(0)
	}
	os.Exit(Main(m))
}

// smallServer answers /ready until SIGTERM, which ends it with status 7.
func smallServer(addr string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv(envMute) != "" {
			w.WriteHeader(503)
		}
	})
	http.HandleFunc("/environment", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Environ())
	})
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(addr, nil) }()
	fmt.Println("small server on", addr, "with", os.Args[1:])
	for {
		select {
		case err := <-failed:
			fmt.Println(err)
			return 1
		case <-term:
			if os.Getenv(envStubborn) == "" {
				return 7
			}
		}
	}
}
