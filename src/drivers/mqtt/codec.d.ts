/** mqtt-packet as the module of CommonJS that it is; its own types promise exports that a bundler does not give. */
declare module 'mqtt-packet/mqtt.js' {
  const codec: Pick<typeof import('mqtt-packet'), 'parser' | 'generate'>;
  export default codec;
}
