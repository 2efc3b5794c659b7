/** A certificate around a public key, as DER of RFC 5280 in PEM. Nobody signed it, and nobody asks who did. */

const element = (tag: number, ...parts: readonly Buffer[]): Buffer => {
  const value = Buffer.concat(parts);
  const { length } = value;
  const octets = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...octets]), value]);
};

export function certificateOf(publicKeyInfo: Buffer): string {
  const sequence = (...parts: readonly Buffer[]): Buffer => element(0x30, ...parts);
  const integer = (value: number): Buffer => element(0x02, Buffer.from([value]));
  const time = element(0x17, Buffer.from('260101000000Z'));
  const algorithm = sequence(element(0x06, Buffer.from('2a864886f70d01010b', 'hex')), element(0x05));
  const fields = sequence(
    element(0xa0, integer(2)),
    integer(1),
    algorithm,
    sequence(),
    sequence(time, time),
    sequence(),
    publicKeyInfo,
  );
  const certificate = sequence(fields, algorithm, element(0x03, Buffer.alloc(257)));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
