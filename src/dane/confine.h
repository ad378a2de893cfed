/* What a captured resolver process could still do shall be little. */
#ifndef DANEMSG_DANE_CONFINE_H
#define DANEMSG_DANE_CONFINE_H

/* For the process as it is now: no core dump, no written file, no new privileges, little memory and
   few descriptors; it dies with its parent's thread, and signals of the terminal leave it alone. */
void dmsg_confine(void);

#endif
