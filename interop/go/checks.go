package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Generous: it bounds a hang.
const patience = 20 * time.Second

// A check can't be made with this broker; says why.
type skipped string

// Runs the checks in their order, names each that fails or is skipped, and ends the process.
func run(checks []check) {
	passed, failed := 0, 0
	for _, check := range checks {
		switch failure := outcome(check.make).(type) {
		case nil:
			passed++
		case skipped:
			fmt.Printf("%s: skipped, %s\n", check.name, failure)
		default:
			failed++
			fmt.Printf("%s: %v\n", check.name, failure)
		}
	}
	fmt.Printf("%d of %d checks passed\n", passed, len(checks))
	if failed > 0 {
		os.Exit(1)
	}
}

type check struct {
	name string
	make func()
}

// What a check panicked with.
func outcome(make func()) (failure any) {
	defer func() { failure = recover() }()
	make()
	return nil
}

func url() string {
	if given := os.Getenv("AMQP_URL"); given != "" {
		return given
	}
	return "amqp://guest:guest@localhost:5672/%2f"
}

// A name nobody else uses.
func unique(name string) string {
	random := make([]byte, 4)
	must(rand.Read(random))
	return fmt.Sprintf("interop.%s.%s", name, hex.EncodeToString(random))
}

func must[T any](value T, err error) T {
	ok(err)
	return value
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](found, expected T) {
	if found != expected {
		panic(fmt.Sprintf("found %v instead of %v", found, expected))
	}
}

// The next of what comes.
func next[T any](from <-chan T) T {
	select {
	case value, open := <-from:
		if !open {
			panic("the channel is closed")
		}
		return value
	case <-time.After(patience):
		panic("nothing came")
	}
}

// The error is the broker's, with this code and text.
func refused(err error, code int, text string) {
	var broker *amqp.Error
	if !errors.As(err, &broker) {
		panic(fmt.Sprintf("found %v instead of %d %s", err, code, text))
	}
	equal(broker.Code, code)
	equal(broker.Reason, text)
}

// Has the broker stop in order, which closes connections with 320, and start again.
func restartBroker() {
	control := os.Getenv("AMQP_CONTROL")
	if control == "" {
		panic(skipped("nobody here may restart the broker"))
	}
	wishes := must(net.Dial("tcp", control))
	defer wishes.Close()
	must(wishes.Write([]byte("restart\n")))
	equal(must(bufio.NewReader(wishes).ReadString('\n')), "restarted\n")
}
