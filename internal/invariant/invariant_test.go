package invariant

import "testing"

func TestCheckPanicsOnlyWhenEnabled(t *testing.T) {
	defer func() {
		got := recover()
		if Enabled && got != "bug: one is two" {
			t.Errorf("panic = %v, want the message after %q", got, "bug: ")
		}
		if !Enabled && got != nil {
			t.Errorf("panicked with %v without the tag", got)
		}
	}()
	Check(true, "one is one")
	Check(len("ab") == 1, "one is two")
}

func TestCheckAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Check(true, "fine") }); n != 0 {
		t.Errorf("Check allocates %v times", n)
	}
}
