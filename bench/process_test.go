package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/nats-io/nats.go"
)

// serverEnv makes the test binary a server on the folder that it names, so that
// what the memory of this process is used for is the library.
const serverEnv = "HEADWATER_BENCH_SERVER"

func TestMain(m *testing.M) {
	for env, run := range map[string]func(string) error{serverEnv: serve, writerEnv: write} {
		if argument := os.Getenv(env); argument != "" {
			if err := run(argument); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// serve runs a server until the standard input ends. To each line there it
// answers with how much memory it uses.
func serve(dir string) error {
	s, err := embedded.Start(context.Background(), dir, &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(usedBytes())
	}
	return cmp.Or(lines.Err(), s.Close())
}

// usedBytes returns how much memory the heap takes after a collection. What lost
// its last use in one collection is gone with the next.
func usedBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}

// A process is this program in another role. It ends when its standard input
// does.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

func startProcess(tb testing.TB, env, argument string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), env+"="+argument)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.stop(tb) })
	return p
}

// line returns what the process says next.
func (p *process) line(tb testing.TB) string {
	tb.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		tb.Fatalf("the process says nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

// stop ends the process, once, and returns the rest of what it said.
func (p *process) stop(tb testing.TB) string {
	tb.Helper()
	if p.stdin == nil {
		return ""
	}
	if err := p.stdin.Close(); err != nil {
		tb.Error(err)
	}
	p.stdin = nil
	rest, err := io.ReadAll(p.out)
	if err != nil {
		tb.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		tb.Errorf("the process: %v", err)
	}
	return string(rest)
}

// remote is a server in a process of its own.
type remote struct {
	*process
	url string
}

func startRemote(tb testing.TB, dir string) *remote {
	tb.Helper()
	p := startProcess(tb, serverEnv, dir)
	return &remote{p, p.line(tb)}
}

// usedBytes asks the server for its memory.
func (r *remote) usedBytes(tb testing.TB) float64 {
	tb.Helper()
	if _, err := fmt.Fprintln(r.stdin); err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.ParseFloat(r.line(tb), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func (r *remote) connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(r.url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}
