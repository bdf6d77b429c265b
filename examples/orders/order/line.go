package order

// Item is what a line orders. It is part of the stored form of events.
type Item struct {
	Product   string   `json:"product"`
	UnitPrice Money    `json:"unitPrice"` // whole cents
	Quantity  int64    `json:"quantity"`
	Discount  Discount `json:"discount,omitzero"`
}

// Line is an item of an order, with the number by which the order knows it.
// Numbers count from 1 and are not used again.
type Line struct {
	Number int `json:"number"`
	Item
}

// Check returns the first rule that the item breaks, nil if there is none.
func (i Item) Check() error {
	switch {
	case i.Product == "":
		return ErrNoProduct
	case len(i.Product) > MaxText:
		return ErrTooLong
	}
	_, _, err := i.Amounts()
	return err
}

// Amounts returns what the item costs without and with its discount. The error
// is ErrPrice, ErrQuantity, ErrDiscount or ErrTooLarge.
func (i Item) Amounts() (gross, net Money, err error) {
	switch {
	case i.UnitPrice < 0 || i.UnitPrice%Cent != 0:
		return 0, 0, ErrPrice
	case i.Quantity <= 0:
		return 0, 0, ErrQuantity
	case i.Discount < 0 || i.Discount >= 100:
		return 0, 0, ErrDiscount
	}
	gross, err = i.UnitPrice.Times(i.Quantity)
	// A whole number of cents less whole percents is a whole number of Money's
	// units. Dividing first keeps the product in range.
	return gross, gross / Cent * Money(100-i.Discount), err
}
