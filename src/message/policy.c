#include "message/policy.h"

#include "base/fail.h"

static bool matches(const struct dmsg_pattern *patterns, size_t count, const struct dmsg_name *name)
{
    for (size_t i = 0; i < count; i++) {
        if (dmsg_pattern_match(&patterns[i], name))
            return true;
    }
    return false;
}

int dmsg_policy_judge(const struct dmsg_policy *policy, const struct dmsg_name *sender,
    enum dmsg_format format, struct dmsg_error *error)
{
    if (policy->allow_count > 0 && !matches(policy->allow, policy->allow_count, sender))
        return dmsg_fail(error, DMSG_E_POLICY,
            "%s is not among the senders that are accepted here (--allow, --from)", sender->text);
    if (format != DMSG_FORMAT_POC)
        return 0;
    if (!policy->accept_any_poc && !matches(policy->accept_poc, policy->accept_poc_count, sender))
        return dmsg_fail(error, DMSG_E_UNBOUND,
            "a message of %s in the proof of concept's format, which binds no recipient, time or "
            "id (--accept-poc accepts it)",
            sender->text);
    if (policy->sent_v1 != NULL && policy->sent_v1(policy->user, sender))
        return dmsg_fail(error, DMSG_E_UNBOUND,
            "%s has sent v1 messages: one in the proof of concept's format is not accepted from "
            "it again",
            sender->text);
    return 0;
}
