/** An S3 server that checks SigV4 in earnest: OpenStack Swift with s3api, in one process. */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { ensurePackage } from './packages.ts';
import { printed, stopProcess, type Running, type ServerOptions } from './process.ts';

/** Debian's own: the packages are built for it, and another one may stand before it on the PATH. */
const PYTHON = '/usr/bin/python3';

export interface S3Server extends Running {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  createBucket(name: string): Promise<void>;
}

export async function start(options: ServerOptions): Promise<S3Server> {
  await mkdir(options.dataDirectory, { recursive: true });
  const { env } = await ensurePackage('python3-swift', hasSwift);
  const credentials = {
    accessKeyId: 'test:tidegate',
    secretAccessKey: randomBytes(20).toString('hex'),
    region: 'us-east-1',
  };
  const child = spawn(PYTHON, [join(import.meta.dirname, 'swift_s3.py'), options.dataDirectory], { env });
  const ready = printed(child, /\{"port": (\d+)\}/);
  child.stdin.write(`${JSON.stringify(credentials)}\n`);
  const endpoint = `http://127.0.0.1:${(await ready)[1]}`;
  return {
    endpoint,
    ...credentials,
    createBucket: async (name) => {
      const signer = new AwsV4Signer({ method: 'PUT', url: `${endpoint}/${name}`, service: 's3', ...credentials });
      const { url, headers } = await signer.sign();
      const response = await fetch(url, { method: 'PUT', headers });
      if (!response.ok) throw new Error(`The bucket ${name} was not made: ${await response.text()}`);
    },
    stop: () => stopProcess(child, 'SIGKILL'),
  };
}

const hasSwift = (env: NodeJS.ProcessEnv): Promise<boolean> =>
  new Promise((resolve) => {
    execFile(PYTHON, ['-c', 'import swift, pyeclib, eventlet, paste.deploy'], { env }, (error) =>
      resolve(error === null),
    );
  });
