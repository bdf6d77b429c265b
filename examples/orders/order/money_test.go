package order_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/headwater-go/headwater/examples/orders/order"
)

func TestParseMoney(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		want  order.Money
		shown string
	}{
		{"0", 0, "0.00"},
		{"-0", 0, "0.00"},
		{"14", 14_0000, "14.00"},
		{"14.5", 14_5000, "14.50"},
		{"14.00", 14_0000, "14.00"},
		{"14.00000000", 14_0000, "14.00"},
		{"33.3375", 33_3375, "33.3375"},
		{"110277.305", 110277_3050, "110277.305"},
		{"0.0001", 1, "0.0001"},
		{"-0.0001", -1, "-0.0001"},
		{"-14.50", -14_5000, "-14.50"},
		{"007.10", 7_1000, "7.10"},
		{"922337203685477.5807", math.MaxInt64, "922337203685477.5807"},
		{"-922337203685477.5808", math.MinInt64, "-922337203685477.5808"},
	} {
		got, err := order.ParseMoney(test.text)
		if err != nil || got != test.want || got.String() != test.shown {
			t.Errorf("%q is %d, shown as %q, %v; want %d, %q", test.text, got, got, err, test.want, test.shown)
		}
	}
}

func TestParseMoneyRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "-", ".", "5.", ".5", "-.5", "+5", "--5", " 5", "5 ", "5-", "1e3", "0x10", "1_000", "1,5", "1.2.3",
		"NaN", "Inf", "five", "٣", "1\x00", "0.00001", "14.00001",
		"922337203685477.5808", "-922337203685477.5809", "99999999999999999999",
	} {
		if got, err := order.ParseMoney(text); !errors.Is(err, order.ErrSyntax) || got != 0 {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}

func TestParseDiscount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]order.Discount{"0": 0, "0.1": 10, "0.15": 15, "0.150": 15, "1": 100, "-0.05": -5} {
		if got, err := order.ParseDiscount(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "15%", "0.155", "0.05000000074505806"} {
		if got, err := order.ParseDiscount(text); !errors.Is(err, order.ErrSyntax) {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}

func TestFixed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		amount   order.Money
		decimals int
		want     string
	}{
		{110277_3050, 4, "110277.3050"},
		{110277_3050, 2, "110277.305"},
		{1354458_5900, 2, "1354458.59"},
		{0, 4, "0.0000"},
		{14_0000, 0, "14"},
		{-14_5000, 0, "-14.5"},
	} {
		if got := test.amount.Fixed(test.decimals); got != test.want {
			t.Errorf("%d with %d decimals is %q, want %q", test.amount, test.decimals, got, test.want)
		}
	}
}

func TestMoneyArithmetic(t *testing.T) {
	t.Parallel()
	const most, least = order.Money(math.MaxInt64), order.Money(math.MinInt64)
	for _, test := range []struct {
		a, b, sum order.Money
		err       error
	}{
		{1, 2, 3, nil},
		{most, 0, most, nil},
		{most, least, -1, nil},
		{most - 1, 1, most, nil},
		{most, 1, 0, order.ErrTooLarge},
		{most, most, 0, order.ErrTooLarge},
		{least, -1, 0, order.ErrTooLarge},
		{least, least, 0, order.ErrTooLarge},
	} {
		if sum, err := test.a.Plus(test.b); sum != test.sum || err != test.err {
			t.Errorf("%s + %s is %s, %v, want %s, %v", test.a, test.b, sum, err, test.sum, test.err)
		}
	}
	for _, test := range []struct {
		a       order.Money
		n       int64
		product order.Money
		err     error
	}{
		{14_0000, 3, 42_0000, nil},
		{most, 0, 0, nil},
		{most, 1, most, nil},
		{most / 2, 2, most - 1, nil},
		{most/2 + 1, 2, 0, order.ErrTooLarge},
		{most, math.MaxInt64, 0, order.ErrTooLarge},
		{-1, 1, 0, order.ErrTooLarge},
		{1, -1, 0, order.ErrTooLarge},
	} {
		if product, err := test.a.Times(test.n); product != test.product || err != test.err {
			t.Errorf("%s × %d is %s, %v, want %s, %v", test.a, test.n, product, err, test.product, test.err)
		}
	}
}

func TestMoneyJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`18`, `18.00`, `"18,00"`, `""`, `{}`, `true`} {
		var m order.Money
		if err := json.Unmarshal([]byte(text), &m); err == nil {
			t.Errorf("%s is taken for %s", text, m)
		}
	}
}

func FuzzParseMoney(f *testing.F) {
	for _, text := range []string{"0", "14.00", "-0.0001", "922337203685477.5807", "-922337203685477.5808", "5.", "1e3"} {
		f.Add(text, int64(len(text)))
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		// Every text is refused or means what it is shown as.
		if m, err := order.ParseMoney(text); err == nil {
			requireSame(t, m)
		} else if !errors.Is(err, order.ErrSyntax) {
			t.Errorf("%q: %v", text, err)
		}
		// Every amount has a text.
		requireSame(t, order.Money(n))
	})
}

func requireSame(t *testing.T, m order.Money) {
	t.Helper()
	for decimals := range 5 {
		if back, err := order.ParseMoney(m.Fixed(decimals)); err != nil || back != m {
			t.Errorf("%d is shown as %s, which is %d, %v", m, m.Fixed(decimals), back, err)
		}
	}
}
