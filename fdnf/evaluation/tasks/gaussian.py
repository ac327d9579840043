"""Tables of Gaussian students of Gaussian teachers.

`fdnf.experiments.gaussian` trains and measures them; see there.
"""

from fdnf.evaluation.core.quantities import QUANTITIES, Quantity
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View

QUANTITIES.update(
    {
        "teacher_mean": Quantity("teacher", "nats", 0, 1),
        "teacher_sd": Quantity("sd", "nats", 0, 1),
        "student_mean": Quantity("student", "nats", 0, 1),
        "student_sd": Quantity("sd", "nats", 0, 1),
        "difference": Quantity("student − teacher", "nats", 0, 2),
        "exact_difference": Quantity("exact", "nats", 0, 2),
        "entropy_gap": Quantity("entropy gap", "nats", 0, 2),
        "condition": Quantity("condition number", better=0),
        "expansion_probability": Quantity("P[xᵀ g > 0]", better=0),
    }
)
LIKELIHOODS = View(
    "Samples under the teacher",
    (
        Column("teacher_mean"),
        Column("teacher_sd"),
        Column("student_mean"),
        Column("student_sd"),
        Column("difference", show="signed"),
        Column("exact_difference", show="signed"),
        Column("difference", show="above", label="above 0"),
        Column("ks", digits=3),
    ),
    index=("T", "method"),
    note="teacher, student: mean of log p_T(x) over samples of each; sd: its standard "
    "deviation over samples. student − teacher: above 0 the student is more "
    "concentrated than its teacher; exact: from the parameters, without sampling; "
    "above 0: seeds with such a difference. Students that diverged are left out: (k of "
    "n) tells how many.",
)
DISTANCES = View(
    "Distance to the teacher",
    (
        Column("reverse_kl", show="range", label="KL(student || teacher)"),
        Column("forward_kl", show="range", label="KL(teacher || student)"),
        Column("entropy_gap", show="signed"),
        Column("condition", show="range"),
    ),
    index=("T", "method"),
    note="KL in nats, in closed form from the parameters, and the condition number of "
    "the teachers' R: median and range over seeds. Entropy gap: student − teacher, "
    "log |det R_S| − log |det R_T|.",
)
PAIRS = View(
    "Losses in pairs",
    (Column("difference"), Column("entropy_gap"), Column("reverse_kl", digits=2)),
    index=("T", "method"),
    against="kl",
    note="Between losses on the same teachers and batches.",
)
PROPOSITION = View(
    "Proposition 1: random teachers",
    (Column("expansion_probability", show="range"),),
    index=("split",),
    unit="item",
    spread="method",
    note="P[xᵀ g > 0] for a student N(0, I) about the teacher's mode, exact; median "
    "and range over teachers. The closed forms are held against draws by the tests.",
)
VIEWS = (LIKELIHOODS, DISTANCES, PAIRS, PROPOSITION)
