export { OWNER } from '../core/chain/connection.ts';
