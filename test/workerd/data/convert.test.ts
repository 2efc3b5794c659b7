/** The same promises in the real runtime, whose streams, forms, encodings and time zones are its own. */

import '../../unit/data/convert.test.ts';
