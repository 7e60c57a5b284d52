package placement

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// declared tells the checker the fields of our two types, so that a misspelt
// one is refused when the rule is written, and leaves the rest to CEL.
type declared struct{ *types.Registry }

// FindStructType implements types.Provider.
func (d declared) FindStructType(name string) (*types.Type, bool) {
	switch name {
	case clusterType.TypeName():
		return types.NewTypeTypeWithParam(clusterType), true
	case factsType.TypeName():
		return types.NewTypeTypeWithParam(factsType), true
	}
	return d.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (d declared) FindStructFieldNames(name string) ([]string, bool) {
	switch name {
	case clusterType.TypeName():
		return slices.Sorted(maps.Keys(clusterFields)), true
	case factsType.TypeName():
		return slices.Sorted(maps.Keys(factsFields)), true
	}
	return d.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (d declared) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	var kind *cel.Type
	switch name {
	case clusterType.TypeName():
		kind = clusterFields[field].kind
	case factsType.TypeName():
		kind = factsFields[field].kind
	default:
		return d.Registry.FindStructFieldType(name, field)
	}
	return &types.FieldType{Type: kind}, kind != nil
}

// record is a Go value whose fields an expression reads by name. It converts
// only what is read; CEL's reflection over structs costs twice the evaluation.
type record[T any] struct {
	kind   *cel.Type
	fields map[string]attribute[T]
	of     T
}

// Get implements traits.Indexer.
func (r record[T]) Get(index ref.Val) ref.Val {
	name, ok := index.Value().(string)
	field, known := r.fields[name]
	if !ok || !known {
		return types.NewErr("no such field: %v", index.Value())
	}
	value := field.read(r.of)
	if v, ok := value.(ref.Val); ok {
		return v
	}
	return types.DefaultTypeAdapter.NativeToValue(value)
}

// IsSet implements traits.FieldTester for has(): a field is set unless empty.
func (r record[T]) IsSet(index ref.Val) ref.Val {
	value := r.Get(index)
	if types.IsError(value) {
		return value
	}
	if native := value.Value(); native != nil {
		v := reflect.ValueOf(native)
		empty := v.IsZero() || ((v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0)
		return types.Bool(!empty)
	}
	return types.False
}

// ConvertToNative implements ref.Val.
func (r record[T]) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s does not convert to %s", r.kind, to)
}

// ConvertToType implements ref.Val.
func (r record[T]) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return r.kind
	}
	return types.NewErr("%s does not convert to %s", r.kind, to.TypeName())
}

// Equal implements ref.Val: there is one cluster in an expression, so records
// of one type are equal.
func (r record[T]) Equal(other ref.Val) ref.Val {
	o, same := other.(record[T])
	return types.Bool(same && o.kind == r.kind)
}

// Type implements ref.Val.
func (r record[T]) Type() ref.Type { return r.kind }

// Value implements ref.Val.
func (r record[T]) Value() any { return r.of }
