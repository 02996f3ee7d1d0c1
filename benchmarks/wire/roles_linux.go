package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/golb/golb/benchmarks/wire/internal/load"
	"github.com/golb/golb/lb"
)

// playRole is one of the processes of a lab.
func playRole(ctx context.Context, text string) error {
	o, err := parseOrder(text)
	if err != nil {
		return err
	}
	if o.CPU > 0 {
		if err := pin(o.CPU - 1); err != nil {
			return err
		}
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if o.Role == roleClient {
		return ask(ctx, o)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return play(ctx, o)
}

func play(ctx context.Context, o order) error {
	ready := func() { fmt.Println("ready") }
	switch o.Role {
	case roleGolb:
		return balance(ctx, o, ready)
	case roleReflector:
		last := o.Interfaces[len(o.Interfaces)-1]
		return load.Reflect(ctx, load.ReflectConfig{In: o.Interfaces[0], Out: last, VIP: o.VIP.Addr(), To: o.To, Workers: o.Workers}, ready)
	case roleServer:
		return load.Serve(ctx, o.Target, o.Mode, o.Threads, ready)
	case roleFrames:
		ready()
		return load.SendFrames(ctx, load.FramesConfig{
			Interface: o.Interfaces[0], Gateway: o.To, Source: o.Source, Target: o.Target, Flows: o.Flows,
		})
	}
	return fmt.Errorf("no role %q", o.Role)
}

// pin keeps this process on one processor: all threads there are, and those that they will start.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, path := range threads {
		tid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stay on processor %d: %w", cpu, err)
		}
	}
	return nil
}

// balance runs golb as a program of its own would.
func balance(ctx context.Context, o order, ready func()) error {
	var method lb.Method
	if err := method.UnmarshalText([]byte(o.Method)); err != nil {
		return err
	}
	cfg := lb.Config{Interfaces: o.Interfaces, Workers: o.Workers, BusyPoll: o.Poll}
	for _, protocol := range []lb.Protocol{lb.TCP, lb.UDP} {
		s := lb.Service{VIP: o.VIP.Addr(), Port: o.VIP.Port(), Protocol: protocol, Method: method, Scheduler: "rr", Check: lb.Check{Type: "none"}}
		for _, addr := range o.Servers {
			s.Servers = append(s.Servers, lb.Server{Address: addr})
		}
		cfg.Services = append(cfg.Services, s)
	}
	env := lb.Env{}
	env.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	env.OnEvent = func(e lb.Event) {
		if e.Kind == lb.EventReady {
			ready()
		}
	}
	b, err := lb.New(cfg, env)
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// ask loads a server, and measures between the two lines of its standard input.
func ask(ctx context.Context, o order) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := load.NewClient(load.ClientConfig{Target: o.Target, Mode: o.Mode, Conns: o.Conns, Threads: o.Threads})
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for c.Done() == 0 {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
		}
	}
	fmt.Println("ready")
	var result load.Result
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "begin" {
			c.Begin()
			fmt.Println("begun")
			continue
		}
		for start := time.Now(); c.Idle() && time.Since(start) < patience; { // where a busy machine has let nobody run
			time.Sleep(time.Millisecond)
		}
		result = c.StopMeasuring()
		break
	}
	cancel()
	if err := <-done; err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c.Times(result))
}
