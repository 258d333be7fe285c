defmodule ErlangPython.Ref.RefusalsTest do
  # What is no Ref, or not one of this node.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestRefs

  alias ErlangPython.Ref

  test "wrong values are refused" do
    pool = start_pool(workers: 1)
    ref = keep!("[1]", pool)
    assert_raise ArgumentError, ~r/ErlangPython.Ref, got: 1/, fn -> Ref.get(1, :x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref, got: nil/, fn -> Ref.call(nil, :x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref/, fn -> Ref.value(:x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref/, fn -> Ref.release("x") end
    assert_raise ArgumentError, ~r/attribute/, fn -> Ref.get(ref, 1) end
    assert_raise ArgumentError, ~r/method/, fn -> Ref.call(ref, nil) end
    assert_raise ArgumentError, ~r/list/, fn -> Ref.call(ref, :x, :y) end
    assert_raise ArgumentError, ~r/unknown option :pool/, fn -> Ref.value(ref, pool: pool) end
    assert_raise ArgumentError, ~r/unknown option :context/, fn -> Ref.value(ref, context: 1) end

    assert_raise ArgumentError, ~r/:value or :ref/, fn ->
      ErlangPython.eval("1", %{}, return: :other)
    end

    assert_raise ArgumentError, ~r/unknown option :return/, fn ->
      ErlangPython.exec("1", %{}, return: :ref)
    end

    for fun <- [:cast, :stream, :map] do
      assert_raise ArgumentError, ~r/unknown option :return/, fn ->
        apply(ErlangPython, fun, [:m, :f, [], [return: :ref]]) |> Enum.to_list()
      end
    end

    # One that was put together by hand, and one that has been changed.
    assert {:error, %Error{kind: :encode}} =
             ErlangPython.eval("x", %{x: %{ref | name: nil}}, pool: pool)

    forged = %{ref | name: <<0::128>>}
    assert {:error, %Error{kind: :decode, message: message}} = Ref.value(forged)
    assert message =~ "another worker"
    assert Ref.value(ref) == {:ok, [1]}
  end

  test "on another node it says where it belongs" do
    pool = start_pool(workers: 1)
    ref = keep!("[1]", pool)
    # The same reference as that node would have sent it.
    local = :erlang.term_to_binary(ref.pool_id)
    name = Atom.to_string(node())
    other = String.duplicate("x", byte_size(name) - 5) <> "@host"
    pool_id = local |> :binary.replace(name, other) |> :erlang.binary_to_term()
    elsewhere = %{ref | pool_id: pool_id}

    for result <- [
          Ref.value(elsewhere),
          ErlangPython.call(:builtins, :len, [elsewhere], pool: pool),
          ErlangPython.call(:builtins, :len, [[ref, elsewhere]], pool: pool)
        ] do
      assert {:error, %Error{kind: :encode, executed: :no, message: message}} = result
      assert message =~ other
    end

    assert_raise Error, ~r/node/, fn -> Ref.release(elsewhere) end
    assert Ref.value(ref) == {:ok, [1]}
  end
end
