/** gzip, as the platform gives it. */

/** @param parts are taken one at a time */
export async function gzip(parts: Iterable<Uint8Array>): Promise<ArrayBuffer> {
  const { readable, writable } = new CompressionStream('gzip');
  const packed = new Response(readable).arrayBuffer();
  const writer = writable.getWriter();
  for (const part of parts) await writer.write(part);
  await writer.close();
  return packed;
}

export const gunzip = (packed: ReadableStream): ReadableStream<Uint8Array> =>
  packed.pipeThrough(new DecompressionStream('gzip'));
