/** As much of DER (X.690) as signatures and certificates need. */

interface Element {
  readonly tag: number;
  /** Where the element, its value and what follows it begin. */
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const EXPLICIT_VERSION = 0xa0;

/** Undefined where the length is not in its shortest form, or leads out of the bytes. */
function elementAt(bytes: Uint8Array, start: number, limit: number): Element | undefined {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) return undefined;
  let value = start + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 2) return undefined;
    length = 0;
    for (; value < start + 2 + octets; value++) length = length * 256 + (bytes[value] ?? 0);
    if (length < 0x80 || (octets === 2 && length < 0x100)) return undefined;
  }
  const end = value + length;
  return end <= limit ? { tag, start, value, end } : undefined;
}

function childrenOf(bytes: Uint8Array, parent: Element | undefined): readonly Element[] | undefined {
  if (parent?.tag !== SEQUENCE) return undefined;
  const children: Element[] = [];
  for (let at = parent.value; at < parent.end;) {
    const child = elementAt(bytes, at, parent.end);
    if (child === undefined) return undefined;
    children.push(child);
    at = child.end;
  }
  return children;
}

/**
 * The signature `SEQUENCE { r, s }` of ECDSA as r and s of fixed length behind each other, which is the
 * form that WebCrypto takes (IEEE P1363). Undefined where it is not in its one DER form.
 */
export function ecdsaFromDer(bytes: Uint8Array, integerBytes: number): Uint8Array | undefined {
  const sequence = elementAt(bytes, 0, bytes.length);
  const integers = childrenOf(bytes, sequence);
  if (integers?.length !== 2 || sequence?.end !== bytes.length) return undefined;
  const plain = new Uint8Array(integerBytes * 2);
  for (const [index, { tag, value, end }] of integers.entries()) {
    const [first = 0x80, second = 0] = bytes.subarray(value, end);
    // Negative, or with a zero in front that is not needed.
    if (tag !== INTEGER || first >= 0x80 || (first === 0 && second < 0x80)) return undefined;
    const digits = bytes.subarray(first === 0 ? value + 1 : value, end);
    if (digits.length > integerBytes) return undefined;
    plain.set(digits, integerBytes * (index + 1) - digits.length);
  }
  return plain;
}

const PEM = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/;

/**
 * The SubjectPublicKeyInfo of the first certificate in a PEM text (RFC 5280, section 4.1). The
 * certificate is not judged: that it came from its host by TLS is what makes it trustworthy.
 */
export function publicKeyOfCertificate(pem: string): Uint8Array | undefined {
  const base64 = PEM.exec(pem)?.[1]?.replace(/\s/g, '');
  if (base64 === undefined) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
  const certificate = childrenOf(bytes, elementAt(bytes, 0, bytes.length));
  const fields = childrenOf(bytes, certificate?.[0]);
  // version (not in version 1), serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
  const info = fields?.[fields[0]?.tag === EXPLICIT_VERSION ? 6 : 5];
  return info?.tag === SEQUENCE ? bytes.slice(info.start, info.end) : undefined;
}
