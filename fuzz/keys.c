/* Private keys that everybody knows. They protect nothing and are of use in fuzzing alone: a corpus
   of envelopes needs a recipient who can open them tomorrow too. */
#include "parties.h"

/* clang-format off */
const char fuzz_key_bob_p256[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLO2Sy15vSsgmtC6M\n"
    "NHEpnNWr/3Nh/0YDW4Aua4js5/qhRANCAAQllJW6DJHaxH5yXLYI5eHLe0NNn25A\n"
    "QXdnIhl0UMZ+pbKkBfPBoqgl+QnJYwWzf59RbuGhm5kzJTrXxkI/gLms\n"
    "-----END PRIVATE KEY-----\n";

const char fuzz_key_bob_x25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VuBCIEIAjT1B2mk3gMtuCPg7xZ9b+0kNx+sLf4xdEtVMtmeJpp\n"
    "-----END PRIVATE KEY-----\n";

const char fuzz_key_bob_rsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC0q1mXqEKSMYNT\n"
    "cxod0yg80SMcgs7PdKoJwj09OmXvVHDD78GI2gVic9BOF/6Kcs7ou5Xc7Wk3WhVx\n"
    "repUVqg0Rw83CDf8F08vBaMYhNDjmHK+Ae7ophzhylGmt/laHoQO3H4j20mg9vIP\n"
    "qfukoixCLLpVCLhIHLp8G1H7fQd1eV3N4DHXuzIVV8Lg76C/PeOzVfyaEeacATM2\n"
    "qKC8P2gm1IWrLR3ow8CzuusIKsW4x/H8LfEkkX7SpCcmS9ikWwO+AcDVzjaYPeoU\n"
    "oevZ+Grjjb8vckav4xEvblXFtsHyGwBzMuk2VTv0B/yLjax9bJcuSKqUPILh19I8\n"
    "ZnNeZl/XAgMBAAECggEAI5xAiP1vvawHtAuUYruLi003i/eWdtqKZ2kDNA3OKLmu\n"
    "jlgz/9rlQ84LCVF+aOCPOt06gTTET9YwMttyPBRmjANTkufKTSR1BZIpXvxSxgF2\n"
    "4E+2POH9AF4l8OQDQImSQvGf5UZkQVdbR84b3QvgCF0Tjw4scH5FHZAu/RBcR4GC\n"
    "wb4D5++i7vGWXhur+m+sQQSAlHnySs0y1OLA8Exu0nyrhj8LFdkDo7bmWghz1zjA\n"
    "8yvotCMJn1zNls0xwIzoPK6XeG4pXwIo1B5AQhYDIBxXz9k7dwNzdMjqDZ4jpmiU\n"
    "KyZ2ZbIWg+jyJ5m+6HQACi+GwUnKE7Cq14zMf0XSQQKBgQDvTvCKHCU90sQCdg81\n"
    "OcuKFbQpQ6H2++QC6Zzfg6jAIpp79XCGp/aCBySfGxElT0LRwTXyHcL0IpwBDtZ/\n"
    "yi29EcEmePjds6ahFF8nlFy38Zv2PVvvU2huxtl+EvjE4Jj8JqCdtFjzguZVHcD7\n"
    "b9cDxGPnbiWytLy2+msQUHmmFwKBgQDBRVv3zHrV79OMvOw1xcNkbsHeky3bdKSs\n"
    "HNtIghOTwQ2x26hAO+82mAFXtZfzFHBsKi+E3feFOEXNxTKl9aQ8//ehOqoWm6Zh\n"
    "PjDS6SlTH0x74RenJ2NZSPliBJExw4JhxDr8SCgYuFQjqFgaCQ7DdXnYTunZQNcA\n"
    "Qt76DorsQQKBgQCHaJhs3Y4pFEh6yAjE6kYEhVFjA/Tyhwc2qq9sPdhPl4ToXTHl\n"
    "z8aJPrd3G96wyM+bVoNK05JLiAXUB2xR9Lm6wQAU3+CZuhywCpHpGGb6YkkIpSGP\n"
    "Ixf1jqjkUKHY7OlDzCuX8MNgTpI8WVCoNVlptUd+XXIRU3lw4/OO0Kp00wKBgHoJ\n"
    "d8cCgNWxt9z4NhbGJ1i1bwlB2gTmpExhdD1WlVII5sLVtmnI7oWEeeSOL8I3t700\n"
    "7ghxuCeQntMNn6uXbftujUhrKJdZ9TcV8/JZc9SewMbAHRVZE6x/Hak8xQmtMBjX\n"
    "tX8zeM4TJl3VoLvf2EinVya0vYiHHrt1fiJbKHGBAoGBAJlPBhebQAFStaJWZ0H2\n"
    "KspdFqTinng0mYIpqTkmx7WvQo+z6Ays1H4lrdQIr3J53UyKz5byHQz/WhltB5FQ\n"
    "c/FrhSznsRiRIeuGBGWtHNTC061+ZVBCoAPdBYjtGfsVBEQncZUgnkRkMkB9B6qz\n"
    "EDDJH1lS1Y/2KB39R5zilKIM\n"
    "-----END PRIVATE KEY-----\n";

const char fuzz_key_alice_p256[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgIEx257DJpOh8p1h+\n"
    "3ckG66XgiQM4d06spy6TLVqoPFmhRANCAARXOPsIR7RZ7AWGVrmfVbJqTSq8avVp\n"
    "QpRe7jE99GD3RZDNdxw+Gei6H31whDuEjWS6a1JNghBQ2XrKSZ0vsDzm\n"
    "-----END PRIVATE KEY-----\n";

const char fuzz_key_alice_ed25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIM8UdSJCSgid4gSslviu5FK+LdyrK66fX/HoxRJOaacy\n"
    "-----END PRIVATE KEY-----\n";

const char fuzz_key_alice_rsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDQtmE1qqPsAsBe\n"
    "zORzN5Z0l7LHllcilXhV967f9hDPea8edlDhuAPkfwG265/0e+m3tfZB0rFEF/y/\n"
    "qH6KhE/NFkYnlDBJNPV96d5q1hgSy2J4S+EogblbG+vvhe+5DffyR9FQYEysMimK\n"
    "yxOqZHHpoxRO9Pkyq+KiC+d3RZ8wxkCoCiaTg8jzlmmzSqypdSeaB06sipDqhqqs\n"
    "S4oIL3RNNDbHYHiUA6QHV1xVz/hlDfFqFRwz81ZRcOaaux2xustazWThf7SaNZo4\n"
    "B4DMu9S0pT0P1hu0L0rbH+kM6Fe5AAuqZJsiq5TAjUzY6oDigreBhZ6gBdSIxeDI\n"
    "nODnedMRAgMBAAECggEAL+BeTTq/DoEVEsoKb5mlREqWIq2MgGzsJUBDV7Gw6n79\n"
    "2k2GwTh+gBhYUtcbIrCYDOHLQw8rRbUA8BAdMvYl/iQpZKPcLbbdx4vxzu0cqZcJ\n"
    "GBJD7JBRbiJqDVBajMc1BNlPnRHyFKAPInzyHmibLt6PZotQbLy8KLL1XklUupGd\n"
    "Op56suv9WwQhHvTEBPRrUKa6ds6HNSgM9Tc1vbl+btFqD222FfsxURqvEZE9YSe8\n"
    "zVYBYOyDPpzIZSDC/QSYVU+BjTyghqPX0apnySX0T4gWEZTOEiAyItYz5DlIaYAE\n"
    "LDcfb7/3+O9YPxs1ZBFVWFtyKDTZaWRcsO/2kdvTNwKBgQD9qIYCEWNyvCf3jhsg\n"
    "XPNxosDLOuvk/jcFVHgwRnaP571IkrvgQAgUiKVq69nEst8z2ZOKEb8/tmRdxbIr\n"
    "QE21/+bJw0Wi90UMK7C5RtqdxTPBR3FVD4tz0Amx0Xbo/TYcsmqKipl2j8ccQ6ix\n"
    "4m54Tq/1fZPHxxVxityeeUbIpwKBgQDSo6J3FyHWzuSUZ8limbldQzbCj1OO2iDv\n"
    "M0Mixbp9fKsvV8S19o8OuCQkgzfsw9kJPQ1UZ/AFoEAw1Gb3+ytYzp8jm2JfBu8d\n"
    "3QeUfLs1FoRq6+0SEGsP5JIcuncZzGSX1nNvEAN6YG6TCPEeUtFB+JMe/LW+wubu\n"
    "6rVPWYdFhwKBgQCugOdgONIvtp3QQuUKiKe5/3ue1LRAX1s+wXPF0lPygDzJ1piF\n"
    "l8d3SOJ0AjlYhq3jH8XOcJMfo7y8fisqchyEHr6JA1u+11mbG9uCOupfK7GFQD8J\n"
    "g54uWGqy+CVT+A7oAx4knWEiHZufKDS/28Sf45JN0sx93co0yJEqPMijdQKBgAxG\n"
    "QtJjw7ILzmAjiCW5xYZ8wzUlOv5JEcA+oXvmP87OM/+HQsxDuORnsJt8FgczBnO2\n"
    "Xg98Gw2I4BS4W+O5fDYpnDZr+JiHA+oeljF97z7RuBeu9dqmoEaF0EniR8x2D6qV\n"
    "cZaYPUulUOw6iip1MwKAJLqaiVC7dM+ZV8Vu9yYDAoGAd7JY2PZt69Q10krK6rcj\n"
    "ldnlddOZ2FOeh5eYu9Unfxz8DiAb4M1WTAzHrXPM6forWSaUuu9JbC0LO8lALCQs\n"
    "JuFpXoK2Z838Mq/xJHe31hllqkGnNJ541shdGm59mpGpgsbrL72eDYFAHtYmqCM4\n"
    "Yd9TwjwdZnUHgF0HNKt8318=\n"
    "-----END PRIVATE KEY-----\n";

/* clang-format on */
