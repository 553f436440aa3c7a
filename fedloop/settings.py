"""The groups of settings, each explained; `fedloop.config` puts them together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Base of all groups of settings: unknown names are errors, nothing can be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class DataSettings(Settings):
    """Which images, or which text.

    Attributes
    ----------
    name : str
        ``digits`` (needs no files), ``mnist``, ``fashion-mnist``, ``cifar10``,
        ``folder`` or ``npz``; ``text`` (of what is installed anyway) or ``text-folder``
        (a folder of text files for each domain).
    dir : path, optional
        Where the files are.
    pool : int
        Images are averaged over squares of this many pixels a side.
    limit : int, optional
        Most images used, training and held-out together; of text, most bytes of a domain.
    window : int
        Of text, bytes that are predicted together.
    test_fraction : float
        Share held out.
    """

    name: str = "digits"
    dir: Path | None = None
    pool: Count = 1
    limit: Count | None = None
    window: Annotated[int, Field(ge=2)] = 128
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class PartitionSettings(Settings):
    """How images are dealt out to clients.

    Attributes
    ----------
    kind : str
        ``iid``: at random, equal numbers. ``dirichlet``: every class is dealt
        by a draw from Dirichlet(alpha) over the clients [1]_. ``classes``: every
        client has images of `classes_per_client` classes [2]_. ``quantity``: at
        random, numbers by a draw from Dirichlet(alpha). ``rotation``: at
        random, and domain d sees images turned by d * 360 / domains degrees.
        ``permuted-labels``: at random, and domain d has its own names for classes.
        ``domains``: of text, windows of the client's domain.
    clients : int
        Clients.
    alpha : float
        Concentration; small is uneven.
    classes_per_client : int
        For ``classes``.
    domains : int
        For ``rotation``, ``permuted-labels`` and text; client i is of domain
        ``i % domains``.
    test_images : int
        Held-out images on which every client is judged, of its own domain and
        with its own mixture of labels. Clients may share held-out images.
    min_images : int
        Fewest training images of a client, where the kind would leave it fewer.

    References
    ----------
    .. [1] T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the Effects of Non-Identical Data
       Distribution for Federated Visual Classification", 2019, arXiv:1909.06335.
    .. [2] B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
       Decentralized Data", AISTATS 2017, arXiv:1602.05629.
    """

    kind: Literal[
        "iid", "dirichlet", "classes", "quantity", "rotation", "permuted-labels", "domains"
    ] = "rotation"
    clients: Count = 20
    alpha: Positive = 0.3
    classes_per_client: Count = 2
    domains: Count = 4
    test_images: Count = 50
    min_images: Count = 10

    @property
    def has_domains(self) -> bool:
        """Return whether clients belong to hidden domains."""
        return self.kind in ("rotation", "permuted-labels", "domains")


class ModelSettings(Settings):
    """Which model, and its sizes.

    Attributes
    ----------
    name : str
        ``own`` for a classifier of images or a language model of bytes, as the data
        asks; ``package.module:function`` for a function that returns a
        `torch.nn.Module` with experts, called with `arguments`. Sizes below are those of
        our own models.
    arguments : dict
        For that function, by name.
    experts : int
        Experts of each MoE layer.
    layers : int
        MoE layers.
    trunk : {"mlp", "cnn", "resnet"}
        One linear layer; or before it two convolutions; or two residual blocks with
        normalisation, which colour images need.
    norm : {"none", "layer"}
        Whether the trunk's output is normalised.
    width, expert_width : int
        Width of the trunk, and inside an expert.
    top_k : int
        Most experts of a layer that an image is sent to.
    gate : {"shared", "personal"}
        Whether gates are averaged like experts, or each client keeps its own,
        which never leaves it. A shared gate sees only the image: it cannot know
        which names a client has for the classes.
    """

    name: str = "own"
    arguments: dict[str, Any] = {}
    experts: Count = 8
    layers: Count = 1
    trunk: Literal["mlp", "cnn", "resnet"] = "mlp"
    norm: Literal["none", "layer"] = "none"
    width: Count = 64
    expert_width: Count = 32
    top_k: Count = 2
    gate: Literal["shared", "personal"] = "shared"


class LocalSettings(Settings):
    """How a client trains.

    Attributes
    ----------
    steps : int
        Steps of descent in a round.
    batch_size : int
        Images in a step; a client with fewer images meets some of them again.
    optimiser : {"sgd", "adamw"}
        Stochastic gradient descent, or AdamW [2]_ with the usual 0.9 and 0.999; each begins
        anew in every round.
    learning_rate : float
        Step size.
    momentum : float
        Of ``sgd``; 0 for none.
    weight_decay : float
        Share of the parameters taken off in a step, times the step size; ``adamw`` only.
    clip : float
        Derivatives of one step, all together, are scaled down to this norm [3]_; 0 for never.
    schedule : {"constant", "cosine"}
        How the step size goes on from round to round: it stays, or falls along half a
        cosine until round `decay_rounds` to `final_rate` of itself, and stays there.
    warmup_rounds : int
        Rounds over which the step size rises evenly at first.
    decay_rounds : int
        For ``cosine``. It does not follow from `rounds`, so a run may be prolonged.
    final_rate : float
        For ``cosine``.
    prox : float
        Weight mu of FedProx [1]_: mu/2 times the squared distance to what the
        server sent is added to the loss. 0 is FedAvg.
    probe_images : int
        Training images on which every held expert is judged alone, before and after.
    batched : bool
        Whether the clients of a round are trained all at once, or one by one.

    References
    ----------
    .. [1] T. Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020,
       arXiv:1812.06127.
    .. [2] I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
       arXiv:1711.05101.
    .. [3] R. Pascanu, T. Mikolov, Y. Bengio, "On the Difficulty of Training Recurrent Neural
       Networks", ICML 2013, arXiv:1211.5063.
    """

    steps: Count = 5
    batch_size: Count = 32
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.5
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0
    clip: NotNegative = 1.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_rounds: Annotated[int, Field(ge=0)] = 0
    decay_rounds: Count = 80
    final_rate: Share = 0.1
    prox: NotNegative = 0.0
    probe_images: Count = 64
    batched: bool = True


class ServerSettings(Settings):
    """How updates are averaged.

    Attributes
    ----------
    weighting : {"usage", "samples", "mean"}
        How holders count in an expert: by their images times the share that the
        gate sent to it, by their images, or equally.
    optimiser : {"fedavg", "fedavgm", "fedadam"}
        What is done with the average: it is the new model; its change is added to a
        running one; or Adam takes it for a derivative. Of what nobody trained nothing moves.
    momentum : float, optional
        Weight of the running change, below 1; by default 0 for ``fedavg``, which with
        another is ``fedavgm``, and 0.9 for the others.
    learning_rate : float
        Factor on the change; of ``fedadam`` about how far a number moves in a round.
    beta2, tau : float
        Of ``fedadam``: weight of the running square, and what is added to its root.
    router : {"closed-form", "trained"}
        What scores experts where all of them are used: the average of those that clients
        train, which saw only the experts that each held, with or without a router from sums over
        all clients (`fedloop.server.router`). Personal routers stay what they are.
    """

    weighting: Literal["usage", "samples", "mean"] = "usage"
    optimiser: Literal["fedavg", "fedavgm", "fedadam"] = "fedavg"
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    learning_rate: Positive = 1.0
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    router: Literal["closed-form", "trained"] = "closed-form"
    tau: Positive = 1e-3


class AlignmentSettings(Settings):
    """What the Aligner is told; see `alignsolve.FitnessSettings` and its siblings.

    Attributes
    ----------
    score : str
        ``fit`` for exp(-alpha * loss) of the expert as the client received it,
        alone in its layer; or a score of `alignsolve.FitnessSettings`.
    alpha, smoothing, half_life, prior_weight, exploration : float
        Of the fitness. `half_life` is in rounds; infinity lets no score grow stale.
    shared_evidence : bool
        Whether clients whose updates are alike learn from each other's scores
        (`fedloop.server.features`).
    kernel_width : float
        How far apart such clients may be, in units of the median distance, from 0.001 to 1e6.
    serve : {"best", "held"}
        Whether clients are served, and judged, with the best experts of their last rounds, or
        with those that they trained last, tried out or not.
    slack : float
        How far a round's holders of an expert may miss their target.
    deficits : bool
        Whether balance is kept over all rounds, or in each round alone.
    switch_cost : float
        Cost of an expert that the client did not hold in its last round, in
        units of fitness.
    """

    score: Literal[
        "fit", "loss", "accuracy", "loss_improvement", "gate_usage"
    ] = "fit"
    alpha: Positive = 1.0
    smoothing: Annotated[float, Field(gt=0, le=1)] = 0.8
    half_life: Annotated[float, Field(gt=0)] = 50.0
    prior_weight: Positive = 0.1
    exploration: NotNegative = 0.1
    shared_evidence: bool = True
    kernel_width: Annotated[float, Field(ge=1e-3, le=1e6)] = 1.0
    serve: Literal["best", "held"] = "best"
    slack: NotNegative = 0.0
    deficits: bool = True
    switch_cost: NotNegative = 0.0


class FleetSettings(Settings):
    """What devices there are, and what goes wrong.

    Attributes
    ----------
    tiers : tuple of str
        Names of `fedloop.fleet.TIERS`; every client is of one, drawn at random.
    deadline_s : float, optional
        Simulated seconds after which the server does not wait for a client.
    speed_spread : float
        Standard deviation of the logarithm of a client's speed from round to round.
    failure_rate : float
        Probability that a client fails in mid-round.
    corruption_rate : float
        Probability that a client's update arrives with a NaN.
    """

    tiers: Annotated[tuple[str, ...], Field(min_length=1)] = ("phone", "laptop", "edge")
    deadline_s: Positive | None = None
    speed_spread: NotNegative = 0.2
    failure_rate: Share = 0.0
    corruption_rate: Share = 0.0


class PrivacySettings(Settings):
    """How clients hide what they report of their experts; see `fedloop.privacy`.

    Attributes
    ----------
    noise_multiplier : float
        Standard deviation of the noise in units of the sensitivity; 0 reports the
        plain numbers.
    loss_bound : float
        Losses are clipped to this.
    delta : float
        The delta at which the privacy loss is stated.
    seeded : bool
        Whether the noise comes from the run's seed, so that a run can be repeated.
        The server knows the seed too: for experiments, where nothing is secret.
    """

    noise_multiplier: NotNegative = 0.0
    loss_bound: Positive = 3.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    seeded: bool = False
