package replay

// Describe is what the progress bar says.
var Describe = describe
