defmodule ErlangPython.FrameworksTest do
  # Tensors of the real frameworks, which are too large for every machine's tests: `make test-frameworks`.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Tensor

  @moduletag :frameworks

  # They take their time to load.
  @timeout 120_000

  setup_all do
    python = System.fetch_env!("FRAMEWORKS_PYTHON")
    {:ok, pool: start_pool(workers: 1, python: python)}
  end

  defp run(pool, code, bindings \\ %{}),
    do: ErlangPython.run(code, bindings, pool: pool, timeout: @timeout)

  defp list({:ok, %Tensor{} = tensor}), do: {tensor.dtype, Tensor.to_list(tensor)}

  describe "PyTorch" do
    test "tensors come as they are, whatever they are part of", %{pool: pool} do
      for {code, expected} <- [
            {"torch.tensor([[1, 2], [3, 4]])", {"<i8", [[1, 2], [3, 4]]}},
            {"torch.arange(6.0).reshape(2, 3).t()",
             {"<f4", [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]}},
            {"torch.ones(2, requires_grad=True) * 2", {"<f4", [2.0, 2.0]}},
            {"torch.nn.Parameter(torch.ones(1))", {"<f4", [1.0]}},
            {"torch.tensor([1.5, -2.0], dtype=torch.bfloat16)", {"<f4", [1.5, -2.0]}},
            {"torch.tensor([1.5], dtype=torch.float16)", {"<f2", [1.5]}},
            {"torch.tensor([1.0]).to(torch.float8_e4m3fn)", {"<f4", [1.0]}},
            {"torch.tensor([True, False])", {"|b1", [true, false]}},
            {"torch.tensor(3.5)", {"<f4", 3.5}}
          ] do
        assert list(run(pool, "import torch\n" <> code)) == expected
      end

      assert {:ok, %Tensor{dtype: "<c8", shape: {1}}} =
               run(pool, "import torch\ntorch.tensor([1 + 2j]).conj()")
    end

    test "takes tensors of Elixir's by way of NumPy", %{pool: pool} do
      tensor = %Tensor{
        dtype: "<f4",
        shape: {2},
        data: <<1.0::float-32-little, -1.0::float-32-little>>
      }

      code = "import torch\ntorch.relu(torch.from_numpy(x))"
      assert list(run(pool, code, %{x: tensor})) == {"<f4", [1.0, 0.0]}
    end

    test "says why it can't give one", %{pool: pool} do
      for {code, reason} <- [
            {"torch.eye(2).to_sparse()", "to_dense()"},
            {"torch.ones(2, device='meta')", "no data"}
          ] do
        assert {:error, %Error{kind: :encode} = error} = run(pool, "import torch\n" <> code)
        assert Exception.message(error) =~ "cannot make a NumPy array of a 'torch.Tensor'"
        assert Exception.message(error) =~ reason
      end
    end
  end

  test "arrays of JAX come as they are", %{pool: pool} do
    for {code, expected} <- [
          {"jnp.arange(3)", {"<i4", [0, 1, 2]}},
          {"jax.jit(lambda x: x * 2)(jnp.ones(2))", {"<f4", [2.0, 2.0]}},
          {"jnp.array([1.5], dtype=jnp.bfloat16)", {"<f4", [1.5]}}
        ] do
      assert list(run(pool, "import jax, jax.numpy as jnp\n" <> code)) == expected
    end
  end

  test "tensors of TensorFlow come as they are", %{pool: pool} do
    code = "import tensorflow as tf\ntf.constant([[1, 2]]) + 1"
    assert list(run(pool, code)) == {"<i4", [[2, 3]]}
    assert run(pool, "import tensorflow as tf\ntf.constant(['a', 'b'])") == {:ok, ["a", "b"]}

    assert {:error, error} = run(pool, "import tensorflow as tf\ntf.Variable([1.0])")
    assert Exception.message(error) =~ "return its .numpy()"
  end
end
