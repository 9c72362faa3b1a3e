# %% [markdown]
# # In scikit-learn
# `OpNetClassifier` is an estimator like any other: it stands in a pipeline, behind a scaler that
# sees the training folds only, and a grid search finds its settings.

# %%
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from opnet import plots
from runners import OpNetClassifier

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
steps = StandardScaler(), OpNetClassifier(epochs=100, random_state=0)
grid = {
    "opnetclassifier__hidden_layer_sizes": [(4,), (16,)],
    "opnetclassifier__weight_decay": [0.0, 1e-2],
}
search = GridSearchCV(make_pipeline(*steps), grid, cv=3).fit(X_train, y_train)
print(search.best_params_)
print(f"test accuracy {search.score(X_test, y_test):.3f}")

# %%
plots.confusion(y_test, search.predict(X_test))

# %% [markdown]
# What it has learnt is an opnet model, op by op.

# %%
net = search.best_estimator_[-1]
print(net.to_model().summary())

# %%
plots.curves({"train": net.loss_curve_})
