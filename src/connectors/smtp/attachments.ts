/** Attachments: what stands in the parameters, and objects of stores. */

import type { AttachmentParams } from './schemas.ts';
import { openBucket } from '../kit/bucket.ts';
import { encodeContent } from '../kit/content.ts';
import type { ActionContext } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { readWhole } from '../../drivers/kit/objects.ts';
import { isMediaType, type Attachment } from '../../drivers/smtp/message.ts';

/** What base64 with its line breaks leaves of the bound of a message. */
const MOST_BYTES = Math.floor((LIMITS.mailMessageBytes * 3) / 4 / (78 / 76));

/** In order. Faults: `step.params`, and those of the stores. */
export async function readAttachments(
  attachments: readonly AttachmentParams[],
  context: ActionContext,
): Promise<Result<readonly Attachment[]>> {
  const read: Attachment[] = [];
  let bytes = 0;
  for (const [index, given] of attachments.entries()) {
    const at = `attachments[${index}]`;
    const content = given.object === undefined ? inline(given, at) : await stored(given, at, index, context);
    if (!content.ok) return content;
    bytes += content.value.bytes.length;
    if (bytes > MOST_BYTES) {
      return fail('step.params', `${at}: The attachments take more than ${MOST_BYTES} bytes; send a link instead.`);
    }
    const { filename, contentId } = given;
    const contentType = given.contentType ?? content.value.contentType;
    read.push({ filename, contentId, contentType, bytes: content.value.bytes });
  }
  return ok(read);
}

interface Content {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

const inline = ({ text, base64 }: AttachmentParams, at: string): Result<Content> =>
  (text === undefined) === (base64 === undefined)
    ? fail('step.params', `${at}: Give exactly one of \`text\`, \`base64\` and \`object\`.`)
    : encodeContent({ text, base64 }, `${at}: `);

async function stored(
  { object, text, base64 }: AttachmentParams,
  at: string,
  index: number,
  context: ActionContext,
): Promise<Result<Content>> {
  if (object === undefined || text !== undefined || base64 !== undefined) {
    return fail('step.params', `${at}: Give exactly one of \`text\`, \`base64\` and \`object\`.`);
  }
  const { connection, ...name } = object;
  if (connection !== undefined && writtenConnection(context.written, index) !== connection) {
    // A name that came with data would let a caller choose among the credentials of the owner.
    return fail('step.params', `${at}.object.connection: Must be a fixed name, not an expression.`);
  }
  const store = connection === undefined ? openBucket(context) : await context.openStore(connection);
  const opened = store.ok ? await store.value.get(name) : store;
  if (!opened.ok) return opened;
  if (opened.value === undefined) return fail('upstream.invalid', `${at}: The store gave no object.`);
  const { contentType = '' } = opened.value;
  const bytes = await readWhole(opened.value, context);
  if (!bytes.ok) return bytes;
  return ok({ bytes: bytes.value, contentType: isMediaType(contentType) ? contentType : 'application/octet-stream' });
}

function writtenConnection(written: unknown, index: number): unknown {
  const list = isObject(written) ? written['attachments'] : undefined;
  const item: unknown = Array.isArray(list) ? list[index] : undefined;
  const object = isObject(item) ? item['object'] : undefined;
  return isObject(object) ? object['connection'] : undefined;
}
