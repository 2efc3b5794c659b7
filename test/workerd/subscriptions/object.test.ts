/// <reference types="@cloudflare/vitest-plugin/types" />

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env, exports } from 'cloudflare:workers';
import { describe, expect, inject, it, vi } from 'vitest';
import { reloadConfiguration } from '../../../src/runtime/configuration.ts';
import { watchSubscriptions } from '../../../src/runtime/subscriptions/index.ts';
import { actionsOf, output, servers } from '../drivers/fixtures.ts';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import { manage, upstream } from '../gateway/fixtures.ts';
