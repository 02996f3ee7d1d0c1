package conf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
	"github.com/golb/golb/sched"
)

const file = `interfaces: [eth0]
services:
  - vip: 192.0.2.100
    port: 80
    check: {type: http, path: /status, interval: 2s}
    servers:
      - address: 192.0.2.11
      - address: 192.0.2.12
        weight: 2
`

func Example() {
	cfg, err := conf.Parse("golb.yaml", []byte(file)) // or conf.Load("/etc/golb.yaml")
	if err != nil {
		fmt.Println(err) // one line per mistake
		return
	}
	web := cfg.Services[0]
	fmt.Println(web.VIP, web.Port, web.Check.Type, web.Check.Interval, len(web.Servers))
	// Output: 192.0.2.100 80 http 2s 2
}

// Every mistake has a place and a path.
func ExampleParse_mistakes() {
	_, err := conf.Parse("golb.yaml", []byte(`interfaces: [eth0]
services:
  - vip: 192.0.2.300
    prot: 80
    servers:
      - address: 192.0.2.11
        weight: -1
`))
	var mistakes conf.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			fmt.Printf("line %d, column %d: %s is wrong: %s\n", m.Line, m.Column, m.Path, m.Problem)
		}
	}
	// Output:
	// line 3, column 10: services[0].vip is wrong: IPv4 field has value >255
	// line 4, column 5: services[0].prot is wrong: unknown key, did you mean "port"?
	// line 7, column 17: services[0].servers[0].weight is wrong: out of range
}

// A file may name what the program adds: here, a scheduler.
func ExampleParseIn() {
	env := lb.Env{Schedulers: map[string]func(sched.Options) (sched.Scheduler, error){
		"two-choices": func(o sched.Options) (sched.Scheduler, error) { return sched.New("twos", o) },
	}}
	text := []byte(`interfaces: [eth0]
services:
  - vip: 192.0.2.100
    port: 80
    scheduler: two-choices
`)
	cfg, err := conf.ParseIn(env, "golb.yaml", text)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Services[0].Scheduler)
	_, err = conf.Parse("golb.yaml", text)
	fmt.Println(err != nil)
	// Output:
	// two-choices
	// true
}

// A Config that a program made, as a file.
func ExampleMarshal() {
	text, err := conf.Marshal(lb.Config{
		Interfaces: []string{"eth0"},
		Services: []lb.Service{{
			VIP: netip.MustParseAddr("192.0.2.100"), Port: 80, Method: lb.NAT,
			Check:   lb.Check{Type: "http", Params: map[string]any{"path": "/status", "status": 204}},
			Servers: []lb.Server{{Address: netip.MustParseAddr("192.0.2.11"), Port: 8080}},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(text))
	// Output:
	// interfaces: [eth0]
	// services:
	//   - vip: 192.0.2.100
	//     port: 80
	//     method: nat
	//     check:
	//       type: http
	//       path: /status
	//       status: 204
	//     servers:
	//       - address: 192.0.2.11
	//         port: 8080
}

// JSON has the keys of YAML, and Parse reads it too.
func ExampleMarshal_json() {
	cfg, err := conf.Parse("golb.yaml", []byte(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := json.Marshal(cfg.Services[0].Check)
	fmt.Println(string(text), err)
	// Output: {"type":"http","interval":"2s","path":"/status"} <nil>
}

// What shows only once a Config runs has its place in the file too.
func ExampleDocument_Locate() {
	doc, err := conf.ReadBytes("golb.yaml", []byte(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = lb.ConfigErrors{{Path: "services[0].vip", Value: "192.0.2.100", Problem: "a local address"}} // as of Balancer.Run
	fmt.Println(doc.Locate(err))
	// Output: golb.yaml:3:10: services[0].vip: "192.0.2.100": a local address
}
