// Package layout is the plan of the module's packages: its test says which may import
// which, and fails for a package that is not in the plan.
package layout
