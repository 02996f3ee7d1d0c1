// Package simulate answers "where would this packet go?": it runs the real engine
// of package lb on a wire in memory with a clock that only turns when it is told
// to. No privileges, no network, any operating system, the same answer each time.
//
//	s, err := simulate.New(cfg, simulate.World{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	step, err := s.Send(packet)
//	if err != nil {
//		log.Fatal(err)
//	}
//	if step.Connection != nil {
//		fmt.Println("goes to", step.Connection.Server)
//	} else {
//		fmt.Println("dropped:", step.Reason)
//	}
//
// A Simulator takes any lb.Config, and by [World] a program's own hooks. A Scenario is a story told in ipvsadm commands
// and packets, of which Play answers each event as a Linux director running IPVS
// would; Run reads and writes them as JSON, a line each.
package simulate
