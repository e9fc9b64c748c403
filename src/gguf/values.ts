/** The number types of GGUF metadata that fit a JavaScript number. */
export type GgufNumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";

/** The types of a single value. */
export type GgufScalarType = GgufNumberType | "u64" | "i64" | "bool" | "string";

/** An array; all elements have the type `of`. */
export type GgufArray =
  | { readonly type: "array"; readonly of: GgufNumberType; readonly value: readonly number[] }
  | { readonly type: "array"; readonly of: "u64" | "i64"; readonly value: readonly bigint[] }
  | { readonly type: "array"; readonly of: "bool"; readonly value: readonly boolean[] }
  | { readonly type: "array"; readonly of: "string"; readonly value: readonly string[] };

/** A metadata value with its type in the file. Values that were read can be written again as they are. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | GgufArray;

/** What the writer takes: the same as what the reader gives. */
export type GgufValueToWrite = GgufValue;

/** Numbers in files, and bytes of a value; strings have a length before them. */
export const scalarTypes: Readonly<Record<GgufScalarType, { id: number; bytes: number }>> = {
  u8: { id: 0, bytes: 1 },
  i8: { id: 1, bytes: 1 },
  u16: { id: 2, bytes: 2 },
  i16: { id: 3, bytes: 2 },
  u32: { id: 4, bytes: 4 },
  i32: { id: 5, bytes: 4 },
  f32: { id: 6, bytes: 4 },
  bool: { id: 7, bytes: 1 },
  string: { id: 8, bytes: 8 },
  u64: { id: 10, bytes: 8 },
  i64: { id: 11, bytes: 8 },
  f64: { id: 12, bytes: 8 },
};

/** The number of the array type in files. */
export const arrayTypeId = 9;

const byId = new Map(Object.entries(scalarTypes).map(([name, { id }]) => [id, name as GgufScalarType]));

/** The scalar type with number `id` in files; `undefined` when there is none. */
export function scalarTypeOf(id: number): GgufScalarType | undefined {
  return byId.get(id);
}

/** A value's type in words, for messages: `u32`, `array of string`. */
export function describeType(value: GgufValue): string {
  return value.type === "array" ? `array of ${value.of}` : value.type;
}

/** Short ways to write the common values: `gguf.u32(8)`, `gguf.strings(tokens)`. */
export const gguf = {
  u32: (value: number): GgufValue => ({ type: "u32", value }),
  f32: (value: number): GgufValue => ({ type: "f32", value }),
  bool: (value: boolean): GgufValue => ({ type: "bool", value }),
  string: (value: string): GgufValue => ({ type: "string", value }),
  strings: (value: readonly string[]): GgufValue => ({ type: "array", of: "string", value }),
  i32s: (value: readonly number[]): GgufValue => ({ type: "array", of: "i32", value }),
  f32s: (value: readonly number[]): GgufValue => ({ type: "array", of: "f32", value }),
};
