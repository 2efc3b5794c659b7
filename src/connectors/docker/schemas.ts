/** What the actions of `docker` take. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { LIMITS } from '../../core/limits.ts';

const hostFolder = v.pipe(
  v.string(),
  v.regex(/^\/(?!.*(?:^|\/)\.\.?(?:\/|$))[^\p{Cc}]+$/u, 'Must be an absolute path.'),
);

export const settings = v.strictObject({
  url: v.pipe(endpoint, v.description('Of the engine, e.g. https://docker.example.com.')),
  allow: v.optional(
    v.pipe(
      v.strictObject({
        privileged: v.optional(v.boolean()),
        hostFolders: v.optional(v.array(hostFolder)),
      }),
      v.description('What containers may have of the host. Default: nothing.'),
    ),
    {},
  ),
});

export const secrets = v.strictObject({
  bearer: v.optional(text),
  username: v.optional(text),
  password: v.optional(text),
});

/** Begins with a letter or digit and has no `/`: a path of the API is made of it. */
const named = (what: string) =>
  v.pipe(v.string(), v.maxLength(128), v.regex(/^[A-Za-z0-9][\w.-]*$/, `Must be the name of a ${what}.`));
const container = v.pipe(named('container'), v.description('A name or an id.'));
const image = v.pipe(
  v.string(),
  v.maxLength(255),
  v.regex(
    /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::\d+)?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::\w[\w.-]*)?(?:@sha256:[0-9a-f]{64})?$/i,
    'Must be the name of an image, e.g. ghcr.io/acme/shop:1.2.',
  ),
);
const labels = v.optional(v.record(v.pipe(v.string(), v.regex(/^[\w./-]+$/)), v.string()));
const words = v.pipe(v.array(v.pipe(v.string(), v.excludes('\0'))), v.minLength(1));
const inside = v.pipe(v.string(), v.regex(/^\/[^\p{Cc}]*$/u, 'Must be an absolute path in the container.'));
const user = v.pipe(v.string(), v.regex(/^[\w.-]+(?::[\w.-]+)?$/, 'Must be user or user:group.'));

const mount = v.strictObject({
  volume: v.optional(named('volume')),
  hostFolder: v.optional(v.pipe(hostFolder, v.description('One that the connection allows, to the letter.'))),
  path: inside,
  readOnly: v.optional(v.boolean()),
});

const spec = {
  image,
  command: v.optional(v.pipe(words, v.description('Words, which no shell looks at.'))),
  entrypoint: v.optional(words),
  environment: v.optional(
    v.record(v.pipe(v.string(), v.regex(/^[A-Za-z_]\w*$/, 'Must be a name of a variable.')), v.string()),
  ),
  workingFolder: v.optional(inside),
  user: v.optional(user),
  labels,
  network: v.optional(
    v.pipe(
      named('network'),
      v.notValues(['host', 'container', 'ns'], 'Must not be the network of the host.'),
      v.description('`none` for no network. Default: the usual one of the engine.'),
    ),
  ),
  mounts: v.optional(v.array(mount)),
  privileged: v.optional(v.pipe(v.boolean(), v.description('Only where the connection allows it.'))),
  memoryMegabytes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(8), v.maxValue(1024 * 1024)), 512),
  cpus: v.optional(v.pipe(v.number(), v.minValue(0.01), v.maxValue(256)), 1),
  processes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(32_768)), 256),
};

const longestSeconds = LIMITS.stepTimeoutLongestMilliseconds / 1000;

export const runParams = v.strictObject({
  ...spec,
  timeoutSeconds: v.optional(
    v.pipe(
      v.number(),
      v.minValue(0.1),
      v.maxValue(longestSeconds),
      v.description('Then it is removed. Set the `timeout` of the step above it. Default 25.'),
    ),
    25,
  ),
});
export const createParams = v.strictObject({ ...spec, name: named('container') });
export const containerParams = v.strictObject({ container });
export const stopParams = v.strictObject({
  container,
  graceSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(300)), 10),
});
export const logsParams = v.strictObject({
  container,
  tail: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100_000)), 1_000),
});
export const execParams = v.strictObject({
  container,
  command: v.pipe(words, v.description('Words, which no shell looks at.')),
  workingFolder: v.optional(inside),
  user: v.optional(user),
});
export const imageParams = v.strictObject({ image });

const file = v.strictObject({
  path: text,
  text: v.optional(v.string()),
  json: v.optional(v.unknown()),
  base64: v.optional(v.string()),
  executable: v.optional(v.boolean()),
});
export const buildParams = v.strictObject({
  tag: image,
  files: v.pipe(
    v.array(file),
    v.minLength(1),
    v.maxLength(LIMITS.dockerBuildFiles),
    v.description('The context, with a Dockerfile.'),
  ),
  dockerfile: v.optional(text, 'Dockerfile'),
  arguments: v.optional(v.record(v.pipe(v.string(), v.regex(/^[A-Za-z_]\w*$/)), v.string())),
  labels,
});
export const volumeParams = v.strictObject({ volume: named('volume') });
export const createVolumeParams = v.strictObject({ volume: named('volume'), labels });
export const pruneParams = v.strictObject({
  label: v.pipe(
    v.string(),
    v.regex(/^[\w./-]+(?:=[^\p{Cc}]*)?$/u, 'Must be a label, or label=value.'),
    v.description('Only stopped containers with this label are removed.'),
  ),
});
