package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/nats-io/nats.go"
)

// serverEnv makes the test binary a server on the folder that it names, so that
// what the memory of this process is used for is the library.
const serverEnv = "HEADWATER_BENCH_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve runs a server until the standard input ends.
func serve(dir string) error {
	s, err := embedded.Start(context.Background(), dir, &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return cmp.Or(err, s.Close())
}

// A process is a server in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startProcess(tb testing.TB, dir string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), serverEnv+"="+dir)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.stop(tb) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatalf("the server does not start: %v", err)
	}
	p.url = strings.TrimSpace(line)
	return p
}

// stop ends the server, once.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	if p.stdin == nil {
		return
	}
	if err := p.stdin.Close(); err != nil {
		tb.Error(err)
	}
	p.stdin = nil
	if err := p.cmd.Wait(); err != nil {
		tb.Errorf("the server: %v", err)
	}
}

func (p *process) connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(p.url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}
