"""Rows of new tags, fitted to the encoder as it is before the encoder learns.

Random rows pull the encoder about until they point somewhere. A linear probe of the
frozen encoder starts them where they belong, so that fine-tuning changes less of what
is known (Kumar et al. 2022, section 4).
"""

import torch
from torch.nn import functional as F

DECAY = 0.007  # of the squared weights, of features of size 1, beside a mean of nats
N_STEPS = 100


def fit_rows(
    features: torch.Tensor, old_logits: torch.Tensor, targets: torch.Tensor, n_new: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multinomial logistic regression of the new tags against all old ones together,
    whose rows stay as they are.

    features: (T, D) what the head reads. old_logits: (T, K). targets: (T,) 0 for any
    old tag, else 1 + the new tag's place. RETURNS: weights (n_new, D), biases (n_new,).
    """
    known = torch.logsumexp(old_logits.float(), dim=1, keepdim=True)
    weight = features.new_zeros(n_new, features.shape[1]).float().requires_grad_()
    # a token is of a known tag, until the features say otherwise
    bias = torch.full((n_new,), float(known.mean()) - 5.0, device=features.device)
    bias.requires_grad_()
    features = features.float()
    size = features.square().mean().sqrt().clamp_min(1e-6)
    features = features / size
    fitter = torch.optim.LBFGS(
        [weight, bias], max_iter=N_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        fitter.zero_grad()
        new = features @ weight.T + bias
        loss = F.cross_entropy(torch.cat([known, new], dim=1), targets)
        loss = loss + DECAY * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        fitter.step(closure)
    return weight.detach() / size, bias.detach()
