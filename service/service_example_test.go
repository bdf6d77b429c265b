package service_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// A whole service on an embedded server: commands, a read model, health, and an end
// without a loss. A program gets its configuration with FromEnv, and Run returns at
// SIGTERM.
func ExampleStart() {
	dir, err := os.MkdirTemp("", "tills")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	svc, err := service.Start(ctx, service.Config{
		Service: "cash", Log: "shop", DataDir: dir, HealthAddress: "127.0.0.1:0",
	}, &service.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	memory := projection.NewMemory[int](nil, nil)
	income, err := projection.New("income", svc.Log(), memory, incomeHandlers, nil)
	if err != nil {
		log.Fatal(err)
	}
	svc.Project(income, nil)
	tills := aggregate.NewRepository[Till](svc.Log(), "till", tillCodec, nil)
	responder, err := service.Respond(ctx, svc.Conn(), svc.Config().Service, []service.Endpoint{
		service.Handle[Pay](tills, nil),
	}, &service.RespondOptions{InHand: svc.Config().MaxAckPending, Logger: svc.Logger()})
	if err != nil {
		log.Fatal(err)
	}
	svc.OnStop(responder.Stop)

	// Somebody uses it, and asks how it is.
	svc.Go("user", func(context.Context) error {
		defer cancel() // a program would run on
		cash, err := service.NewClient(svc.Conn(), "cash", nil)
		if err != nil {
			return err
		}
		at, err := cash.Execute(ctx, "front", Pay{Amount: 5}, nil)
		if err != nil {
			return err
		}
		if err := income.Wait(ctx, at); err != nil {
			return err
		}
		resp, err := http.Get("http://" + svc.HealthAddress() + "/health/ready")
		for err == nil && resp.StatusCode != http.StatusOK && ctx.Err() == nil { // it may be starting
			resp.Body.Close()
			resp, err = http.Get("http://" + svc.HealthAddress() + "/health/ready")
		}
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		health, err := io.ReadAll(resp.Body)
		fmt.Println(resp.Status, strings.Contains(string(health), `"part": "projection income"`))
		return err
	}, nil)
	fmt.Println("ended with", svc.Run(ctx))
	// Output:
	// 200 OK true
	// ended with <nil>
}

// All mistakes are reported at once, each with its variable.
func ExampleFromEnv() {
	for key, value := range map[string]string{
		"NATS_URL": "tls://ann:secret@nats.example:4222", "NATS_TOKEN": "secret",
		"HEADWATER_REPLICAS": "2",
	} {
		os.Setenv(key, value)
		defer os.Unsetenv(key)
	}
	_, err := service.FromEnv()
	fmt.Println(err)
	// Output: configuration: NATS_URL: has a user, and NATS_TOKEN says another: use one of them; HEADWATER_REPLICAS: is none of 1, 3 and 5
}

// A config can be printed.
func ExampleConfig() {
	c := service.Config{Servers: []string{"nats://ann:secret@nats.example"}, Token: service.NewSecret("secret")}
	fmt.Println(strings.Contains(fmt.Sprintf("%+v %#v", c, c), "secret"), c.Token)
	// Output: false [hidden]
}
