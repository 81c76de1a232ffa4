// MessagePack, as far as it can be shown as JSON.

const DEEPEST = 100;

/** The one value that these bytes are. Throws if they are none, or if more follows. */
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = new TextDecoder("utf-8", { fatal: true });
  let at = 0;

  function take(length) {
    if (at + length > bytes.length) throw new RangeError("it ends too early");
    at += length;
    return at - length;
  }

  const number = (kind, size) => view[`get${kind}`](take(size));
  const whole = (kind) => {
    const value = number(kind, 8);
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  };
  const string = (length) => text.decode(bytes.subarray(take(length), at));
  const binary = (length) => `(${length} bytes) ${hex(bytes.subarray(take(length), at))}`;
  const array = (length, depth) => Array.from(items(length), () => value(depth + 1));
  const map = (length, depth) => Object.fromEntries(Array.from(items(length), () => {
    const key = value(depth + 1);
    return [typeof key === "string" ? key : JSON.stringify(key), value(depth + 1)];
  }));
  const extension = (length) => {
    const type = number("Int8", 1);
    return `(extension ${type}) ${hex(bytes.subarray(take(length), at))}`;
  };

  /** What claims to have more items than there are bytes is none. */
  function items(length) {
    if (length > bytes.length - at) throw new RangeError("it ends too early");
    return { length };
  }

  function value(depth) {
    if (depth > DEEPEST) throw new RangeError("it is nested too deep");
    const first = number("Uint8", 1);
    if (first < 0x80) return first;
    if (first < 0x90) return map(first & 0x0f, depth);
    if (first < 0xa0) return array(first & 0x0f, depth);
    if (first < 0xc0) return string(first & 0x1f);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return binary(number("Uint8", 1));
      case 0xc5: return binary(number("Uint16", 2));
      case 0xc6: return binary(number("Uint32", 4));
      case 0xc7: return extension(number("Uint8", 1));
      case 0xc8: return extension(number("Uint16", 2));
      case 0xc9: return extension(number("Uint32", 4));
      case 0xca: return number("Float32", 4);
      case 0xcb: return number("Float64", 8);
      case 0xcc: return number("Uint8", 1);
      case 0xcd: return number("Uint16", 2);
      case 0xce: return number("Uint32", 4);
      case 0xcf: return whole("BigUint64");
      case 0xd0: return number("Int8", 1);
      case 0xd1: return number("Int16", 2);
      case 0xd2: return number("Int32", 4);
      case 0xd3: return whole("BigInt64");
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return extension(1 << (first - 0xd4));
      case 0xd9: return string(number("Uint8", 1));
      case 0xda: return string(number("Uint16", 2));
      case 0xdb: return string(number("Uint32", 4));
      case 0xdc: return array(number("Uint16", 2), depth);
      case 0xdd: return array(number("Uint32", 4), depth);
      case 0xde: return map(number("Uint16", 2), depth);
      case 0xdf: return map(number("Uint32", 4), depth);
      default: throw new RangeError("there is no such type");
    }
  }

  const result = value(0);
  if (at !== bytes.length) throw new RangeError("something follows");
  return result;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
