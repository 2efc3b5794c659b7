/**
 * XML by fast-xml-parser: attributes are members named `@name`, the text beside them is `#text`, an element that
 * stands more than once is a list.
 *
 * Guarantee: no document type is read, so there are no entities but those of characters (`&lt;`, `&#228;`, `&copy;`),
 * and nothing outside is ever looked at. Depth and size are bounded. What is written has only names that are names.
 */

import { malformed, textOf, type Format } from './content.ts';
import { at } from '../../../core/chain/issues.ts';
import { FaultError } from '../../../core/errors.ts';
import { isObject } from '../../../core/json.ts';
import { LIMITS } from '../../../core/limits.ts';

const NAME = /^[\p{L}_][\p{L}\p{N}\p{M}_.-]*(?::[\p{L}_][\p{L}\p{N}\p{M}_.-]*)?$/u;
/** What XML 1.0 cannot hold, not even as a reference (2.2). */
// oxlint-disable-next-line no-control-regex -- these are the ones to find
const FORBIDDEN = /[\0-\b\v\f\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]/u;
const SHAPE = { attributeNamePrefix: '@', textNodeName: '#text', ignoreAttributes: false } as const;

export const xml: Format = {
  async read(content, options) {
    const text = textOf(content, 'XML', options);
    // Before anything is parsed: also inside of a comment or CDATA, where it would be harmless.
    if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) malformed('XML', 'a document type (<!DOCTYPE) is not accepted.');
    const { XMLParser, XMLValidator } = await import('fast-xml-parser');
    const verdict = XMLValidator.validate(text);
    if (verdict !== true) malformed('XML', `line ${verdict.err.line}: ${verdict.err.msg}`);
    const lists = new Set(options.xml.lists);
    const parser = new XMLParser({
      ...SHAPE,
      parseTagValue: false,
      // With the references of characters, such as `&#228;`, come the names of HTML.
      htmlEntities: true,
      ignoreDeclaration: true,
      ignorePiTags: true,
      maxNestedTags: LIMITS.dataXmlDepth,
      isArray: (_name, path) => lists.has(String(path)),
      onDangerousProperty: (name) => malformed('XML', `the name ${name} is reserved.`),
    });
    const value = parsedBy(() => parser.parse(text));
    const [root, ...others] = isObject(value) ? Object.values(value) : [];
    if (others.length > 0 || Array.isArray(root)) malformed('XML', 'it has more than one outermost element.');
    return value;
  },
  async write(content) {
    if (!isObject(content) || Object.keys(content).length !== 1) {
      return malformed('an object with one member', 'XML has one outermost element.');
    }
    checkElement(content, 'value', 0);
    const { XMLBuilder } = await import('fast-xml-parser');
    return String(
      new XMLBuilder({ ...SHAPE, suppressEmptyNode: true, suppressBooleanAttributes: false }).build(content),
    );
  },
};

function parsedBy(parse: () => unknown): unknown {
  try {
    return parse();
  } catch (thrown) {
    if (thrown instanceof FaultError) throw thrown;
    return malformed('XML', thrown instanceof Error ? thrown.message : 'it cannot be read.');
  }
}

/** Names come from data: `a><script` must not become markup. */
function checkElement(value: unknown, path: string, depth: number): void {
  if (depth > LIMITS.dataXmlDepth) malformed('writable as XML', `${path} is nested too deep.`);
  if (typeof value === 'string' && FORBIDDEN.test(value)) {
    malformed('writable as XML', `${path} has a character that XML cannot hold.`);
  }
  if (Array.isArray(value)) value.forEach((item, index) => checkElement(item, at(path, index), depth + 1));
  else if (isObject(value)) {
    for (const [name, member] of Object.entries(value)) {
      const isText = name === '#text';
      if (!isText && !NAME.test(name.replace(/^@/, ''))) malformed('writable as XML', `${at(path, name)} is no name.`);
      if ((isText || name.startsWith('@')) && typeof member === 'object' && member !== null) {
        malformed('writable as XML', `${at(path, name)} must be a text.`);
      }
      checkElement(member, at(path, name), depth + 1);
    }
  }
}
