/** The same promises in the real runtime, with its WebCrypto. */

import '../../unit/data/tokens.test.ts';
