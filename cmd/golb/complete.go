package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/api"
)

// completeFlag has shells complete a flag by words.
func completeFlag(cmd *cobra.Command, flag string, words ...string) {
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
}

// must panics where the program itself has a mistake.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// completeTime is how long a shell waits for the running golb.
const completeTime = 2 * time.Second

// completion completes a word by what the running golb has.
func completion(client *api.Client, words func(st *lb.Stats) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completeTime)
		defer cancel()
		st, err := client.Stats(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := words(&st)
		slices.Sort(list)
		return slices.Compact(list), cobra.ShellCompDirectiveNoFileComp
	}
}

// serviceNames are the names of all services.
func serviceNames(st *lb.Stats) (names []string) {
	for _, v := range st.Services {
		names = append(names, v.Name)
	}
	return names
}

// serverNames are the names and addresses of all servers.
func serverNames(st *lb.Stats) (names []string) {
	for _, v := range st.Services {
		for _, r := range v.Servers {
			names = append(names, r.Name, r.Address.String())
		}
	}
	return names
}
