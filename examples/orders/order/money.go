package order

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Money is an amount, exactly: a count of ten-thousandths. Whole cents with a
// discount of whole percents come out even in these. As text and JSON it is a
// decimal number in a string, such as "14.00" or "33.3375".
type Money int64

// Cent is the smallest unit of a price.
const Cent Money = 100

// Discount is the part of a price that is not asked for, in percent. As text
// and JSON it is a decimal number in a string, such as "0.15".
type Discount int64

const (
	moneyPlaces    = 4
	discountPlaces = 2
)

// ParseMoney returns the amount that a text says, such as "14", "14.00" or
// "-0.0001". The error matches ErrSyntax; it is also returned for more than four
// decimals, zeros at the end aside, and for what an int64 cannot count.
func ParseMoney(text string) (Money, error) {
	n, err := parseDecimal(text, moneyPlaces)
	return Money(n), err
}

// ParseDiscount returns the discount that a text says, such as "0", "0.1" or
// "0.15". The error matches ErrSyntax.
func ParseDiscount(text string) (Discount, error) {
	n, err := parseDecimal(text, discountPlaces)
	return Discount(n), err
}

// String returns the amount with two decimals, or as many more as it needs.
func (m Money) String() string { return m.Fixed(2) }

// Fixed returns the amount with so many decimals, or as many more as it needs.
func (m Money) Fixed(decimals int) string {
	return formatDecimal(int64(m), moneyPlaces, decimals)
}

// String returns, for example, "0.15".
func (d Discount) String() string {
	return formatDecimal(int64(d), discountPlaces, discountPlaces)
}

// Plus returns the sum, or ErrTooLarge.
func (m Money) Plus(other Money) (Money, error) {
	sum := m + other
	if (sum > m) != (other > 0) && other != 0 {
		return 0, ErrTooLarge
	}
	return sum, nil
}

// Times returns the amount so many times, or ErrTooLarge. Neither may be
// negative.
func (m Money) Times(n int64) (Money, error) {
	hi, lo := bits.Mul64(uint64(m), uint64(n))
	if m < 0 || n < 0 || hi > 0 || lo > math.MaxInt64 {
		return 0, ErrTooLarge
	}
	return Money(lo), nil
}

// MarshalText implements encoding.TextMarshaler, which JSON uses too.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Money) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMoney(string(text))
	return err
}

// MarshalText implements encoding.TextMarshaler, which JSON uses too.
func (d Discount) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Discount) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDiscount(string(text))
	return err
}

// parseDecimal returns how many units of 10^-places a text says.
func parseDecimal(text string, places int) (int64, error) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return 0, fmt.Errorf("%w: %q", ErrSyntax, text)
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > places {
		return 0, fmt.Errorf("%w with at most %d decimals: %q", ErrSyntax, places, text)
	}
	units := whole + fraction + strings.Repeat("0", places-len(fraction))
	if negative {
		units = "-" + units
	}
	n, err := strconv.ParseInt(units, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w in range: %q", ErrSyntax, text)
	}
	return n, nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// formatDecimal writes n units of 10^-places with at least so many decimals.
func formatDecimal(n int64, places, atLeast int) string {
	sign, units := "", uint64(n)
	if n < 0 {
		sign, units = "-", -units // also right for the least int64
	}
	text := fmt.Sprintf("%0*d", places+1, units)
	point := len(text) - places
	end := len(text)
	for end > point+atLeast && text[end-1] == '0' {
		end--
	}
	return strings.TrimSuffix(sign+text[:point]+"."+text[point:end], ".")
}
