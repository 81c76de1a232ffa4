// A message's body, made readable: what it is packed in, and what it is.

import { bytes as size } from "./format.js";
import { unpack } from "./messagepack.js";

/** The forms a body can be shown in; the first looks for the one that fits. */
export const FORMS = [["auto", "as what it is"], "text", "JSON", "MessagePack", "hex"];

/** What is inflated of a body, and shown of it as hex, at most. */
const INFLATED_MAX = 1 << 20;
const HEX_MAX = 1 << 16;

/** The bytes of a body as the API gives it. */
export function bytesOf({ payload, payload_encoding: encoding }) {
  if (encoding !== "base64") return new TextEncoder().encode(payload);
  return Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
}

/** A body as text, in this form, and what was found out about it. */
export async function readable(message, form) {
  const packed = bytesOf(message);
  const isGzip = packed[0] === 0x1f && packed[1] === 0x8b;
  const { bytes, isWhole } = isGzip ? await inflate(packed) : { bytes: packed, isWhole: true };
  const { kind, text } = shown(bytes, form, message.properties?.content_type ?? "");
  const notes = [kind, isGzip && `inflated from gzip, ${isWhole ? "" : "at least "}${size(bytes.length)}`];
  return { text, note: notes.filter(Boolean).join(", ") };
}

function shown(bytes, form, contentType) {
  const tries = {
    text: () => new TextDecoder("utf-8", { fatal: form === "auto" }).decode(bytes),
    JSON: () => JSON.stringify(structured(new TextDecoder("utf-8", { fatal: true }).decode(bytes)), null, 2),
    MessagePack: () => JSON.stringify(unpack(bytes), null, 2),
    hex: () => dump(bytes),
  };
  if (form !== "auto") {
    try {
      return { kind: form, text: tries[form]() };
    } catch (error) {
      return { kind: `not ${form}: ${error.message}`, text: dump(bytes) };
    }
  }
  const order = /msgpack|messagepack/.test(contentType)
    ? ["MessagePack", "JSON", "text", "hex"] : ["JSON", "text", "MessagePack", "hex"];
  for (const kind of order) {
    try {
      return { kind, text: tries[kind]() };
    } catch {
      // It is something else.
    }
  }
  return { kind: "hex", text: dump(bytes) };
}

/** JSON that has a structure: a lone number or word is as well shown as text. */
function structured(text) {
  const value = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new TypeError("it is plain text");
  return value;
}

/** Inflates as much as there is, and as should be: a body may be cut off, or huge when inflated. */
async function inflate(packed) {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const parts = [];
  let length = 0;
  let isWhole = false;
  try {
    while (length < INFLATED_MAX) {
      const { done, value } = await reader.read();
      isWhole = done;
      if (done) break;
      parts.push(value);
      length += value.length;
    }
  } catch {
    // It ends too early, or is damaged: what came before is shown.
  }
  reader.cancel().catch(() => {});
  if (length === 0 && !isWhole) return { bytes: packed, isWhole: true };
  return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()), isWhole };
}

/** Offset, bytes and characters, sixteen a line. */
function dump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, HEX_MAX); at += 16) {
    const line = Array.from(bytes.subarray(at, at + 16));
    const pairs = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const characters = line.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${pairs}  ${characters}`);
  }
  if (bytes.length > HEX_MAX) lines.push("and so on");
  return lines.join("\n");
}
