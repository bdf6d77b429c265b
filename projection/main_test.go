package projection_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/headwater-go/headwater/internal/natsnode"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	natsnode.Main()
	if args := os.Getenv(childEnv); args != "" {
		if err := ledgerChild(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
