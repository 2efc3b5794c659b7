/** `require('process')` of bundled packages: here the runtime has it as a global only. */
module.exports = globalThis.process;
