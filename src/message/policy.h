/* Step 5: who may write, before anything is asked of DNS. */
#ifndef DANEMSG_MESSAGE_POLICY_H
#define DANEMSG_MESSAGE_POLICY_H

#include "danemsg/message.h"

/* DMSG_E_POLICY: not on the allow-list. DMSG_E_UNBOUND: a poc message, and this sender is not
   among those whose poc messages are read, or has sent v1 before. */
int dmsg_policy_judge(const struct dmsg_policy *policy, const struct dmsg_name *sender,
    enum dmsg_format format, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
