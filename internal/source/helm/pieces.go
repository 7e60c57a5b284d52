package helm

import "bytes"

// entriesKey begins the charts of an index.
const entriesKey = "entries:\n"

// pieces cuts an index, in the form that Helm gives it, into one for each chart,
// so that little of it is unfolded at a time. Whatever else it may be is nil.
func pieces(data []byte) [][]byte {
	var all [][]byte
	var within bool
	for line := range bytes.Lines(data) {
		text := bytes.TrimRight(line, " \r\n")
		indent := len(text) - len(bytes.TrimLeft(text, " "))
		switch {
		case len(text) == 0 || text[indent] == '#', string(text) == "---" && !within && all == nil:
			continue
		case indent == 0:
			if within && all == nil || text[0] == '-' || text[0] == '%' {
				return nil // of another form, or several documents
			}
			within = string(text)+"\n" == entriesKey
		case !within:
		case indent == 2 && text[2] != '-':
			all = append(all, append([]byte(entriesKey), line...))
		case all == nil || indent < 2:
			return nil
		default:
			all[len(all)-1] = append(all[len(all)-1], line...)
		}
	}
	return all
}
