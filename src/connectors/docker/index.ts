/** `docker.*`: containers, images and volumes of an engine of Docker or Podman. */

import * as v from 'valibot';
import { encodeContent } from '../kit/content.ts';
import { defineAction, originOf, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { call, callJson, callLines, logOf, statusOf } from '../../drivers/docker/engine.ts';
import { tarOf, type TarFile } from '../../drivers/docker/tar.ts';
import { connection, engineOf, type Context, type Settings } from './connection.ts';
import { containerActions } from './containers.ts';
import { buildParams, createVolumeParams, imageParams, volumeParams } from './schemas.ts';

const NOTHING = v.strictObject({});
const IMAGE = { image: 'busybox:1' };

/** True, or false where there was none. */
async function remove(path: string, context: Context): Promise<Result<{ readonly removed: boolean }>> {
  const removed = await call(engineOf(context), context, { method: 'DELETE', path });
  if (removed.ok) return ok({ removed: true });
  return statusOf(removed.fault) === 404 ? ok({ removed: false }) : removed;
}

function contextOf(files: v.InferOutput<typeof buildParams>['files']): Result<Uint8Array> {
  const encoded: TarFile[] = [];
  for (const [index, { path, executable, ...content }] of files.entries()) {
    const bytes = encodeContent(content, `files[${index}]: `);
    if (!bytes.ok) return bytes;
    encoded.push({ path, bytes: bytes.value.bytes, isExecutable: executable === true });
  }
  return tarOf(encoded);
}

const imageActions: Connector['actions'] = {
  images: defineAction(
    {
      title: 'List images',
      effect: 'idempotent',
      params: NOTHING,
      example: {},
      async run(_, context) {
        const found = await callJson(engineOf(context), context, { method: 'GET', path: 'images/json' });
        if (!found.ok) return found;
        if (!Array.isArray(found.value)) return fail('upstream.invalid', 'Docker sent no list of images.');
        const images = found.value
          .filter(isObject)
          .map(({ Id: id, RepoTags: tags, Size: sizeBytes, Labels: labels }) => ({
            id,
            tags: tags ?? [],
            sizeBytes,
            labels: labels ?? {},
          }));
        return ok({ images });
      },
    },
    connection,
  ),
  pull: defineAction(
    {
      title: 'Pull an image',
      effect: 'idempotent',
      params: imageParams,
      example: IMAGE,
      async run({ image }, context) {
        // Without a tag the engine would pull all of them.
        const query = { fromImage: /[:@][^/]*$/.test(image) ? image : `${image}:latest` };
        const pulled = await callLines(engineOf(context), context, { method: 'POST', path: 'images/create', query });
        return pulled.ok ? ok({}) : pulled;
      },
    },
    connection,
  ),
  build: defineAction(
    {
      title: 'Build an image',
      effect: 'idempotent',
      params: buildParams,
      example: { tag: 'acme/shop:1.2', files: [{ path: 'Dockerfile', text: 'FROM busybox:1\n' }] },
      async run({ tag, files, dockerfile, arguments: given, labels }, context) {
        const tar = contextOf(files);
        if (!tar.ok) return tar;
        const query = {
          t: tag,
          dockerfile,
          buildargs: given && JSON.stringify(given),
          labels: labels && JSON.stringify(labels),
          rm: 'true',
          forcerm: 'true',
        };
        const built = await callLines(engineOf(context), context, {
          method: 'POST',
          path: 'build',
          query,
          tar: tar.value,
        });
        if (!built.ok) return built;
        const ids = built.value.filter(isObject).map(({ aux }) => (isObject(aux) ? aux['ID'] : undefined));
        return ok({ id: ids.findLast((id) => typeof id === 'string'), log: logOf(built.value) });
      },
    },
    connection,
  ),
  removeImage: defineAction(
    {
      title: 'Remove an image',
      effect: 'idempotent',
      params: imageParams,
      example: IMAGE,
      run: ({ image }, context) => remove(`images/${image}`, context),
    },
    connection,
  ),
};

const volumeActions: Connector['actions'] = {
  volumes: defineAction(
    {
      title: 'List volumes',
      effect: 'idempotent',
      params: NOTHING,
      example: {},
      async run(_, context) {
        const found = await callJson(engineOf(context), context, { method: 'GET', path: 'volumes' });
        if (!found.ok) return found;
        const list: unknown = isObject(found.value) ? found.value['Volumes'] : undefined;
        const volumes = Array.isArray(list) ? list.filter(isObject) : [];
        return ok({
          volumes: volumes.map(({ Name: name, Labels: labels, CreatedAt: createdAt }) => ({
            name,
            labels: labels ?? {},
            createdAt,
          })),
        });
      },
    },
    connection,
  ),
  createVolume: defineAction(
    {
      title: 'Make a volume',
      effect: 'idempotent',
      params: createVolumeParams,
      example: { volume: 'uploads' },
      // No options of a driver: with them a volume may be any folder of the host.
      async run({ volume, labels }, context) {
        const json = { Name: volume, Labels: labels };
        const made = await callJson(engineOf(context), context, { method: 'POST', path: 'volumes/create', json });
        return made.ok ? ok({ name: volume }) : made;
      },
    },
    connection,
  ),
  removeVolume: defineAction(
    {
      title: 'Remove a volume',
      effect: 'idempotent',
      params: volumeParams,
      example: { volume: 'uploads' },
      run: ({ volume }, context) => remove(`volumes/${volume}`, context),
    },
    connection,
  ),
};

export const docker: Connector = {
  name: 'docker',
  title: 'Docker',
  connection: {
    required: true,
    ...connection,
    origins: ({ url }: Settings) => [originOf(url)],
    probe: () => ({ action: 'version', params: {} }),
  },
  actions: {
    version: defineAction(
      {
        title: 'Read the version of the engine',
        effect: 'idempotent',
        params: NOTHING,
        example: {},
        async run(_, context) {
          const found = await callJson(engineOf(context), context, { method: 'GET', path: 'version' });
          if (!found.ok) return found;
          if (!isObject(found.value) || typeof found.value['ApiVersion'] !== 'string') {
            return fail('upstream.invalid', 'There is no engine of Docker at that address; check `url`.');
          }
          const { Version: version, ApiVersion: apiVersion, Os: os, Arch: architecture } = found.value;
          return ok({ version, apiVersion, os, architecture });
        },
      },
      connection,
    ),
    ...containerActions,
    ...imageActions,
    ...volumeActions,
  },
};
