"""Feed-forward students of the small SRFlow x4 on BSDS300.

python -m fdnf.main --mode=study --config=configs/srflow_bsds300_student.py \
    --workdir=runs/srflow_bsds300_student
"""

from configs import conditional, srflow, srflow_bsds300

STUDENTS = ("srflow_student", "srflow_student_l1")


def get_config(arg: str = ""):
    smoke = "smoke" in arg
    recipe = srflow.recipe(srflow.student("smoke" if smoke else "small"))
    # VGG16 costs twenty times what this student does; AlexNet's distance instead.
    recipe["loss/feed_forward/feature"] = "lpips_alex"
    plain = {"loss/feed_forward/feature": "none", "loss/feed_forward/alpha": 0.0}
    recipes = (recipe | plain if smoke else recipe, recipe | plain)
    students = dict(zip(STUDENTS, recipes, strict=True))
    config = conditional.taught(srflow_bsds300.get_config, arg, students, STUDENTS[0])
    if not smoke:
        config.train.update(steps=6000, batch_size=16)
        config.optim.update(lr=1e-3)
    return config
